"""Stage 1: the clip, and how its frames get the model's size."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from masactrl_video.controls.domain_check import hint_if_foreign
from masactrl_video.errors import UserError, counted
from masactrl_video.poses.pose_clip import fingerprint_poses, is_pose_json, open_pose_clip, size_from_text
from masactrl_video.settings.clip_parts import FrameSettings, SizeSettings
from masactrl_video.settings.guidance_parts import GuidanceSettings
from masactrl_video.settings.names import OWN_MODELS
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.timeline import source_frames
from masactrl_video.storage.fingerprint import hash_bytes
from masactrl_video.video.clip import Clip, open_clip
from masactrl_video.video.ffmpeg_program import check_ffmpeg
from masactrl_video.video.fingerprint import fingerprint_clip
from masactrl_video.video.fit import Fit, plan_fit
from masactrl_video.video.frame import Selection
from masactrl_video.video.image_folder import read_picture

if TYPE_CHECKING:
    from masactrl_video.model.diffusion import DiffusionModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FittedClip:
    """A clip whose frames have the size that the model takes."""

    clip: Clip
    fit: Fit

    def __len__(self) -> int:
        return len(self.clip)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Frames RGB uint8 (height, width, 3), streamed."""
        return (self.fit.apply(frame.pixels) for frame in self.clip)

    def own_frames(self) -> Iterator[NDArray[np.uint8]]:
        """The same frames in their own size, before the fit."""
        return (frame.pixels for frame in self.clip)

    def frame(self, n: int) -> NDArray[np.uint8]:
        """The n-th frame."""
        return self.fit.apply(self.clip.frame(n).pixels)

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width."""
        return self.fit.height_px, self.fit.width_px


def open_selected(settings: Settings) -> Clip:
    """Open the clip: what can be said about it without a model.

    Raises:
        UserError: no clip, none of its frames, or not the source's.
    """
    check_ffmpeg()
    selection, rate = selection_of(settings), settings.frame_rate
    if is_pose_json(settings.clip):
        if settings.video_stream is not None:
            raise UserError(f"--video-stream is for a video, but {settings.clip} is pose JSON; leave it out")
        clip = open_pose_clip(settings.clip, selection, rate, pose_canvas(settings))
    else:
        clip = open_clip(
            settings.clip,
            selection,
            rate,
            allow_partial=settings.allow_partial,
            video_stream=settings.video_stream,
        )
    if settings.source_frame >= len(clip):
        raise UserError(
            f"source_frame: got {settings.source_frame}; of {counted(len(clip), 'frame')} the last is {len(clip) - 1}"
        )
    check_frames(settings, len(clip))
    return clip


def check_frames(settings: Settings, frames: int) -> None:
    """See that a clip of so many frames has those of its sources.

    Raises:
        UserError: it does not.
    """
    for frame, _ in source_frames(settings):
        if frame >= frames:
            raise UserError(f"sources: got frame {frame}; of {counted(frames, 'frame')} the last is {frames - 1}")
    if isinstance(settings.key_frames, int) and settings.key_frames > frames:
        raise UserError(f"key_frames: got {settings.key_frames} for {counted(frames, 'frame')}; give at most {frames}")


def fit_clip(settings: Settings, clip: Clip, model: DiffusionModel) -> FittedClip:
    """Plan the clip's fit to the model's size factor; what is done to the frames is logged."""
    fitted = FittedClip(clip, fit_for(settings, model, clip.info.width_px, clip.info.height_px))
    log_remarks(settings.clip, clip.info.remarks)
    logger.info("%s: %s, %s", settings.clip, counted(len(clip), "frame"), fitted.fit.describe())
    if settings.model in OWN_MODELS and _frames_are_seen(settings):
        hint_if_foreign(model, clip.frame(settings.source_frame).pixels, settings.clip)
    return fitted


def log_remarks(path: Path, remarks: Iterable[str]) -> None:
    """Warn of what is not taken over from a file or folder as it is."""
    for remark in remarks:
        logger.warning("%s: %s", path, remark)


def _frames_are_seen(settings: Settings) -> bool:
    """Whether anything is taken from the frames' own pictures, which skeletons and ready-made guidance are not."""
    if is_pose_json(settings.clip):
        return False
    given = {*settings.guidance_video, *(["pose"] if settings.pose_json else [])}
    return settings.source == "clip" or not given.issuperset(settings.kinds)


def fingerprint_of(settings: Settings) -> str:
    """Names the content of the clip and which of its frames are taken."""
    if not is_pose_json(settings.clip):
        return fingerprint_clip(settings.clip, selection_of(settings), settings.video_stream)
    parts = (fingerprint_poses(settings.clip), settings.pose_canvas, selection_of(settings))
    return hash_bytes(repr(parts).encode())


def pose_canvas(settings: GuidanceSettings) -> tuple[int, int] | None:
    """Width and height in px of pose JSON that names none."""
    return None if settings.pose_canvas is None else size_from_text(settings.pose_canvas)


def selection_of(settings: FrameSettings) -> Selection:
    """Which frames are taken."""
    return Selection(settings.skip_first_frames, settings.select_every_nth, settings.frame_load_cap)


def fit_for(settings: SizeSettings, model: DiffusionModel, width_px: int, height_px: int) -> Fit:
    """How pictures of a size are fitted to the clip's target size."""
    return plan_fit(
        width_px,
        height_px,
        mode=settings.fit,
        target_width_px=settings.width,
        target_height_px=settings.height,
        size_factor=model.size_factor,
        native_area_px=model.native_area_px,
    )


def fit_like_frames(settings: SizeSettings, width_px: int, height_px: int, size_px: tuple[int, int]) -> Fit:
    """How pictures of another size are brought to the frames' size (height, width), by the same mode."""
    height, width = size_px
    return plan_fit(
        width_px,
        height_px,
        mode=settings.fit,
        target_width_px=width,
        target_height_px=height,
        size_factor=1,
        native_area_px=height * width,
    )


def read_fitted(
    settings: SizeSettings, path: Path, size_px: tuple[int, int], *, as_numbers: bool = False
) -> NDArray[np.uint8]:
    """A single picture file at the frames' size (height, width); what is done to it is logged.

    as_numbers is for masks and guidance (see `read_picture`).
    """
    picture = read_picture(path, as_numbers=as_numbers)
    log_remarks(path, picture.remarks)
    if picture.profile:
        logger.info("%s: colours are converted from the profile %r to sRGB", path, picture.profile)
    height_px, width_px = picture.pixels.shape[:2]
    fit = fit_like_frames(settings, width_px, height_px, size_px)
    logger.info("%s: %s", path, fit.describe())
    return fit.apply(picture.pixels)
