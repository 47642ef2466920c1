"""Stage 2: guidance pictures for every frame, extracted or ready-made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masactrl_video.controls.added import AddedGuidance, added_control
from masactrl_video.controls.clip import (
    FittedClip,
    fingerprint_of,
    fit_like_frames,
    log_remarks,
    pose_canvas,
    selection_of,
)
from masactrl_video.controls.extract import GuidanceBeside, extract_guidance
from masactrl_video.controls.extractors import (
    CannyGuidance,
    DetectedPoses,
    FrameGuidance,
    GivenFrames,
    GivenPoses,
)
from masactrl_video.controls.given import is_for_whole_clip
from masactrl_video.controls.pose_plan import detector_named, plan_treatment
from masactrl_video.controls.store import GuidanceFrames
from masactrl_video.errors import UserError, counted
from masactrl_video.plugins import plugin_names
from masactrl_video.poses.carried import carried_places, places_picture
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_clip import fingerprint_poses, is_pose_json
from masactrl_video.poses.pose_json import pose_remarks, read_poses
from masactrl_video.poses.tracking import track_people
from masactrl_video.poses.whose import HEAD_REACH, INSIDE, REACH, as_picture, whose_points
from masactrl_video.settings.cast import cast_members
from masactrl_video.settings.names import OWN_MODELS
from masactrl_video.settings.settings import Settings
from masactrl_video.storage.fingerprint import hash_json
from masactrl_video.video.clip import open_clip
from masactrl_video.video.fingerprint import fingerprint_clip

logger = logging.getLogger(__name__)

_MAY_BE_BLACK = ""
"""What is said of pictures that show nothing, where that is as it should be."""

OWN_DETECTOR = "demo/keypoints"
"""The model that ships with the package comes with a detector of its own, for its cartoon world only."""


def make_guidance(settings: Settings, clip: FittedClip, kind: str, folder: Path) -> GuidanceFrames:
    """Guidance of one kind in `folder`; reused when nothing that determines it has changed.

    Raises:
        UserError: no way to come by this kind is given, or what is given does not fit the clip.
    """
    make, made_from = _way(settings, clip, kind)
    return _extract(clip, folder, make, _key(settings, clip, [kind, made_from]))


def begin_guidance(settings: Settings, clip: FittedClip, kind: str, folder: Path, executor: Executor) -> GuidanceBeside:
    """The same in a thread of `executor`, frame by frame beside those who use it.

    Raises:
        UserError: see `make_guidance`; what is wrong with a frame is raised where pictures are asked for.
    """
    make, made_from = _way(settings, clip, kind)
    key = _key(settings, clip, [kind, made_from])

    def extract(tell: Callable[[Path | None], None]) -> GuidanceFrames:
        return _extract(clip, folder, make, key, tell)

    return GuidanceBeside(extract, executor, key=key, frames=len(clip), size_px=clip.size_px)


def make_target_masks(settings: Settings, clip: FittedClip, path: Path, folder: Path) -> GuidanceFrames:
    """Given masks, one for each frame, at the frames' size; white is the object."""
    make = GivenFrames(_fitted_pictures(settings, clip, path), "all target_masks are black: no frame has the object")
    return _extract(clip, folder, make, _key(settings, clip, fingerprint_clip(path)))


def keep_clip(settings: Settings, clip: FittedClip, folder: Path) -> GuidanceFrames:
    """The clip's own frames, at the frames' size, for whoever renders."""
    return _extract(
        clip, folder, GivenFrames((frame for frame in clip), _MAY_BE_BLACK), _key(settings, clip, "own frames")
    )


def draw_people(settings: Settings, clip: FittedClip, poses: GuidanceFrames, folder: Path) -> GuidanceFrames:
    """Whose each pixel of a frame is, of the cast's people (see `poses.whose.as_picture`).

    Args:
        poses: the guidance of the clip by poses.

    Raises:
        UserError: a person whom no frame shows.
    """
    assert poses.pose_path is not None
    members = [person for person, _ in cast_members(settings)]
    tracked = track_people(read_poses(poses.pose_path))
    count = max((len(pose.people) for pose in tracked), default=0)
    if members[-1] >= count:
        people = counted(count, "person", "people")
        raise UserError(f"cast: got person {members[-1]}; {people} told apart in these frames, numbered from 0")

    pictures = (as_picture(whose_points(pose, members)) for pose in tracked)
    key = _key(settings, clip, [poses.key, members, REACH, HEAD_REACH, INSIDE])
    return _extract(clip, folder, GivenFrames(pictures, _MAY_BE_BLACK), key)


def draw_places(
    settings: Settings, clip: FittedClip, poses: GuidanceFrames, grid: tuple[int, int], folder: Path
) -> GuidanceFrames:
    """Where each point of a frame's noise lies in the source's, that follows bodies (see `poses.carried`).

    Args:
        poses: the guidance of the clip by poses.
        grid: height and width of the latents.
    """
    assert poses.pose_path is not None
    tracked = track_people(read_poses(poses.pose_path))
    of_source = 0 if settings.sources or settings.key_frames is not None else settings.source_frame
    pictures = (places_picture(carried_places(tracked[of_source], pose, grid), grid, clip.size_px) for pose in tracked)
    key = _key(settings, clip, [poses.key, of_source, grid, REACH, HEAD_REACH])
    return _extract(clip, folder, GivenFrames(pictures, _MAY_BE_BLACK), key)


def _key(settings: Settings, clip: FittedClip, made_from: Any) -> str:
    """Names everything that determines the pictures."""
    key = {"clip": fingerprint_of(settings), "fit": asdict(clip.fit), "from": made_from}
    return hash_json(key)


def _extract(
    clip: FittedClip,
    folder: Path,
    make: FrameGuidance,
    key: str,
    tell: Callable[[Path | None], None] = lambda picture: None,
) -> GuidanceFrames:
    def frames() -> Iterator[NDArray[np.uint8]]:
        # people are looked for in the clip's own pixels: the model's size may be too small for a detector, or cut
        for frame in clip.own_frames() if isinstance(make, DetectedPoses) else clip:
            tell(None)  # a treatment may want all frames before it makes a picture
            yield frame

    return extract_guidance(frames(), folder=folder, key=key, make=make, total=len(clip), tell=tell)


def _way(settings: Settings, clip: FittedClip, kind: str) -> tuple[FrameGuidance, Any]:
    """How guidance of a kind is made, and what that depends on besides the clip."""
    if kind in settings.guidance_video:
        path = settings.guidance_video[kind]
        return GivenFrames(_fitted_pictures(settings, clip, path)), fingerprint_clip(path)
    if kind in _OWN:
        return _OWN[kind](settings, clip)
    if kind in plugin_names("controls"):
        _check_has_pictures(settings, kind)
        control = added_control(kind)
        return AddedGuidance(kind, control), control.provenance
    raise UserError(
        f"guidance {kind!r} cannot be extracted; give it ready-made: --guidance-video {kind}=VIDEO, or install a "
        "package that adds it (docs/plug-points.md)"
    )


def _edges(settings: Settings, clip: FittedClip) -> tuple[FrameGuidance, Any]:
    _check_has_pictures(settings, "canny")
    thresholds = (settings.canny_low_threshold, settings.canny_high_threshold)
    return CannyGuidance(*thresholds), thresholds


def _check_has_pictures(settings: Settings, kind: str) -> None:
    if is_pose_json(settings.clip):
        raise UserError(f"guidance {kind!r}: {settings.clip} holds poses, no pictures; use --guidance pose")


def _poses(settings: Settings, clip: FittedClip) -> tuple[FrameGuidance, Any]:
    """Poses that are given, by the clip itself or beside it, or detected; and what they depend on."""
    treatment, treated_by = plan_treatment(settings, clip.size_px)
    path = settings.pose_json or (settings.clip if is_pose_json(settings.clip) else None)
    if path is not None:
        poses = _fitted_poses(settings, clip, path)
        return GivenPoses(poses, treatment, str(path)), [fingerprint_poses(path), settings.pose_canvas, treated_by]
    name = settings.pose_detector or (OWN_DETECTOR if settings.model in OWN_MODELS else None)
    if name is not None:
        detector, fit = detector_named(name, settings.pose_threshold), clip.fit

        def placed(pose: Pose) -> Pose:
            return pose.transform(fit.apply_points, width_px=fit.width_px, height_px=fit.height_px)

        return DetectedPoses(detector, treatment, placed), [detector.identity, "in the clip's own pixels", treated_by]
    raise UserError(
        "guidance 'pose': give --pose-detector (a hub id, a folder of OpenPose weights, or an 18-point .onnx network), "
        "--pose-json, or --guidance-video pose=VIDEO"
    )


_OWN: dict[str, Callable[[Settings, FittedClip], tuple[FrameGuidance, Any]]] = {"canny": _edges, "pose": _poses}
"""Kinds that are extracted here; others are given ready-made, or added by other packages (see `controls.added`)."""


def _fitted_poses(settings: Settings, clip: FittedClip, path: Path) -> list[Pose]:
    """Poses of the selected frames on the fitted canvas."""
    info, fit = clip.clip.info, clip.fit
    log_remarks(path, pose_remarks(path))
    poses = read_poses(path, size_px=pose_canvas(settings) or (info.width_px, info.height_px))
    if is_for_whole_clip(clip.clip, len(poses), path):
        poses = [poses[position] for position in selection_of(settings).positions(len(poses))]
    return [
        pose.scaled(width_px=info.width_px, height_px=info.height_px).transform(
            fit.apply_points, width_px=fit.width_px, height_px=fit.height_px
        )
        for pose in poses
    ]


def _fitted_pictures(settings: Settings, clip: FittedClip, path: Path) -> Iterator[NDArray[np.uint8]]:
    """Ready-made pictures, one for each frame, at the frames' size."""
    ready = open_clip(path, as_numbers=True)
    if is_for_whole_clip(clip.clip, len(ready), path):
        ready = open_clip(path, selection_of(settings), as_numbers=True)
    log_remarks(path, ready.info.remarks)
    fit = fit_like_frames(settings, ready.info.width_px, ready.info.height_px, clip.size_px)
    logger.info("%s: %s", path, fit.describe())
    return (fit.apply(frame.pixels) for frame in ready)
