"""What a clip's frames and their guidance look like, before anything is made of them."""

from __future__ import annotations

import base64
import functools
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from masactrl_video.controls.clip import open_selected
from masactrl_video.controls.extractors import canny_edges
from masactrl_video.controls.plan import OWN_DETECTOR
from masactrl_video.controls.pose_plan import detector_named
from masactrl_video.model.loading.location import local_path
from masactrl_video.poses.draw import draw_pose
from masactrl_video.poses.pose_clip import is_pose_json
from masactrl_video.settings.settings import Settings
from masactrl_video.video.fit import Fit, plan_fit

SHOWN_FRAMES = 6

_USUAL_AREA_PX, _USUAL_FACTOR = 512 * 512, 8
"""Of a model whose files are not here yet."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class ClipPreview:
    """Some frames of a clip, evenly spread, at the model's size."""

    frames: int
    """Of the whole selection."""
    seconds: float
    own_size_px: tuple[int, int]
    """Width and height of the clip."""
    shown: tuple[int, ...]
    """Numbers of the frames that are shown."""
    pictures: tuple[Picture, ...]
    fit: Fit
    """How frames get the model's size."""
    is_poses: bool
    """Whether it is pose JSON: the pictures are skeletons then."""

    def guidance(self, low: float, high: float) -> list[Picture]:
        """Edges of the frames by two thresholds.

        Raises:
            UserError: they are not 0 <= low <= high.
        """
        return [canny_edges(picture, low, high) for picture in self.pictures]


def preview(settings: Settings) -> ClipPreview:
    """Look at the clip of some settings. The same frames are not read twice.

    Raises:
        UserError: the clip cannot be read, or none of its frames is taken.
    """
    return _preview(_Key(settings))


class _Key:
    """Settings that say which frames there are, and of which size; two of them are equal when those are."""

    _NAMES = (
        *("clip", "skip_first_frames", "select_every_nth", "frame_load_cap", "frame_rate", "video_stream"),
        *("allow_partial", "fit", "width", "height", "model", "pose_canvas"),
    )

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._values = tuple(str(getattr(settings, name)) for name in self._NAMES)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self._values == other._values

    def __hash__(self) -> int:
        return hash(self._values)


@functools.lru_cache(maxsize=8)
def _preview(key: _Key) -> ClipPreview:
    clip = open_selected(key.settings)
    count, info = len(clip), clip.info
    shown = tuple(sorted({round(place) for place in np.linspace(0, count - 1, min(SHOWN_FRAMES, count))}))
    factor, area_px = _sizes(key.settings)
    settings = key.settings
    fit = plan_fit(
        info.width_px,
        info.height_px,
        mode=settings.fit,
        target_width_px=settings.width,
        target_height_px=settings.height,
        size_factor=factor,
        native_area_px=area_px,
    )
    timeline = clip.timeline()
    return ClipPreview(
        frames=count,
        seconds=sum(timing.duration_seconds for timing in timeline),
        own_size_px=(info.width_px, info.height_px),
        shown=shown,
        pictures=tuple(fit.apply(clip.frame(number).pixels) for number in shown),
        fit=fit,
        is_poses=is_pose_json(settings.clip),
    )


def found_poses(settings: Settings) -> list[Picture]:
    """The poses of the people in the frames that `preview` shows, drawn; by the detector that ships with the package.

    Raises:
        UserError: see `preview`.
    """
    return _found_poses(_Key(settings))


@functools.lru_cache(maxsize=8)
def _found_poses(key: _Key) -> list[Picture]:
    detector, clip, seen = detector_named(OWN_DETECTOR, None), open_selected(key.settings), _preview(key)
    fit = seen.fit
    poses = (detector(clip.frame(number).pixels) for number in seen.shown)
    placed = (pose.transform(fit.apply_points, width_px=fit.width_px, height_px=fit.height_px) for pose in poses)
    return [draw_pose(pose.on_canvas()) for pose in placed]


def _sizes(settings: Settings) -> tuple[int, int]:
    """Of what a side must be a multiple, and the area the model was trained at, as far as its files are here."""
    folder = local_path(settings.model, "model")
    config = folder / "vae" / "config.json" if folder is not None and folder.is_dir() else None
    if config is None or not config.is_file():
        return _USUAL_FACTOR, _USUAL_AREA_PX
    about: Mapping[str, Any] = json.loads(config.read_text(encoding="utf-8"))
    side_px = about.get("sample_size")
    factor = 2 ** (len(about.get("block_out_channels", [0] * 4)) - 1)
    return factor, side_px * side_px if isinstance(side_px, int) else _USUAL_AREA_PX


def data_url(picture: Picture, width_px: int = 192, kind: str = "WEBP") -> str:
    """A small picture as part of a page."""
    image = Image.fromarray(picture)
    image.thumbnail((width_px, width_px * 2))
    file = io.BytesIO()
    image.save(file, kind, quality=80)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def example_clip(folder: Path) -> Path:
    """A clip of the cartoon world, for those who have none at hand."""
    from masactrl_video.demo.clip import HERO, clip_frames, write_clip

    path, frames, size_px = folder / "example.mp4", 12, 256
    if not path.exists():
        write_clip(path, (frame.image for frame in clip_frames(HERO, "dancing", frames, size_px)), size_px, 12)
    return path
