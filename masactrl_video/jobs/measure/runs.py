"""What the folder of a run of this package holds: its results, and what they are compared with."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from masactrl_video.controls.clip import selection_of
from masactrl_video.controls.plan import OWN_DETECTOR
from masactrl_video.controls.store import POSE_NAME
from masactrl_video.encode.container import VIDEO_SUFFIXES
from masactrl_video.errors import UserError
from masactrl_video.jobs.comic.outputs import is_comic_folder
from masactrl_video.jobs.run.folder import Outputs, is_run_folder
from masactrl_video.measure.opened import Given
from masactrl_video.poses.named_poses import named_pose, pose_names
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_clip import is_pose_json
from masactrl_video.poses.pose_json import POSE_SUFFIXES, read_poses
from masactrl_video.settings.names import OWN_MODELS
from masactrl_video.settings.presets import read_config, resolve, resolve_as
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.stills import StillSettings
from masactrl_video.video.image_folder import list_images

logger = logging.getLogger(__name__)

_OF_GROUP = re.compile(r"target-\d+-(?P<group>seed\d+|[a-z-]+)")
"""A picture by one of several methods, or of one of several seeds."""


def is_made_here(path: Path) -> bool:
    """Whether a path is the folder of a render, of still pictures, or of a comic."""
    return path.is_dir() and (is_run_folder(path) or is_comic_folder(path))


def results_of_run(folder: Path) -> list[Given]:
    """The results of a run with what they were made from: one, or for `compare` one for each method.

    Raises:
        UserError: the run is not finished, or its settings cannot be read.
    """
    if is_comic_folder(folder):
        return [_comic(folder)]
    config = read_config(folder / "config.yaml")
    pictures = sorted(
        folder.glob("target-*.png"), key=lambda path: [int(number) for number in re.findall(r"\d+", path.stem)]
    )
    if pictures:
        return _stills(folder, resolve_as(StillSettings, config, {}), pictures)
    return [_render(folder, resolve(config, {}))]


def _render(folder: Path, settings: Settings) -> Given:
    videos = [video for suffix in VIDEO_SUFFIXES if (video := folder.with_name(folder.name + suffix)).is_file()]
    if len(videos) != 1:
        what = "no video lies" if not videos else f"{' and '.join(video.name for video in videos)} lie"
        raise UserError(f"{folder} is the folder of a run, but {what} beside it: finish the run, or name its video")
    outputs = Outputs(videos[0])
    original = settings.clip if settings.clip.exists() and not is_pose_json(settings.clip) else None
    if not settings.clip.exists():
        logger.warning("%s: its clip %s is not there; give it with --input", folder, settings.clip)
    poses = outputs.guidance("pose") / POSE_NAME
    masks = folder / "masks"
    return Given(
        result=videos[0],
        original=original,
        selection=selection_of(settings),
        source=outputs.source if outputs.source.is_file() else None,
        source_mask=settings.source_mask,
        poses=poses if poses.is_file() else None,
        pose_detector=_detector(settings) if poses.is_file() else None,
        masks=masks if masks.is_dir() and any(masks.iterdir()) else None,
        masks_of_cells=True,
        fit=settings.fit,
    )


def _detector(settings: Settings) -> str | None:
    return settings.pose_detector or (OWN_DETECTOR if settings.model in OWN_MODELS else None)


def _stills(folder: Path, settings: StillSettings, pictures: Sequence[Path]) -> list[Given]:
    """One for each method or seed, if there are several; all others together."""
    groups: dict[str, list[Path]] = {}
    for path in pictures:
        match = _OF_GROUP.fullmatch(path.stem)
        groups.setdefault(match["group"] if match else "", []).append(path)
    return [_still_group(folder, settings, group, found) for group, found in groups.items()]


def _still_group(folder: Path, settings: StillSettings, group: str, pictures: Sequence[Path]) -> Given:
    sources = sorted(folder.glob(f"source-{group}.png")) or sorted(folder.glob("source*.png"))
    if len(sources) > 1:
        logger.warning("%s: it has %d sources; give the one to compare with as --input", folder, len(sources))
    source = sources[0] if len(sources) == 1 else None
    wanted = _wanted(settings, len(pictures))
    return Given(
        result=folder,
        label=group,
        pictures=tuple(pictures),
        original=source,
        source=source,
        wanted=wanted,
        pose_detector=_detector(settings) if wanted else None,
        fit=settings.fit,
    )


def _wanted(settings: StillSettings, count: int) -> tuple[Pose, ...]:
    """The poses of the targets, where they are known as such and there is one for each."""
    paths = settings.target_guidance.get("pose", [])
    paths = paths * count if len(paths) == 1 else paths
    if len(paths) != count or not all(
        path.suffix.lower() in POSE_SUFFIXES or str(path) in pose_names() for path in paths
    ):
        return ()
    return tuple(named_pose(str(path)) if str(path) in pose_names() else read_poses(path)[0] for path in paths)


def _comic(folder: Path) -> Given:
    """The panels, without their texts; with the character's source where there is one character."""
    panels = list_images(folder / "panels")
    sources = sorted((folder / "characters").glob("*.png"))
    if len(sources) > 1:
        logger.warning("%s: it has %d characters; give the one to compare with as --source", folder, len(sources))
    return Given(result=folder, pictures=tuple(panels), source=sources[0] if len(sources) == 1 else None)
