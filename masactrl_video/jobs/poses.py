"""Pose sequences for people who work on them by hand: read, detected, treated, shown and written."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from masactrl_video.controls.clip import log_remarks, pose_canvas, selection_of
from masactrl_video.controls.pose_plan import detector_named, plan_treatment
from masactrl_video.controls.store import frame_name
from masactrl_video.encode.side_by_side import side_by_side
from masactrl_video.encode.video import encode_video
from masactrl_video.errors import UserError
from masactrl_video.jobs.run.run import Place, alone
from masactrl_video.poses.detectors.base import nobody_found
from masactrl_video.poses.draw import draw_pose
from masactrl_video.poses.named_poses import named_pose, pose_names
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_clip import read_sequence
from masactrl_video.poses.pose_json import pose_remarks, write_pose_folder, write_poses
from masactrl_video.poses.proportions import given_lengths
from masactrl_video.progress import counting
from masactrl_video.settings.guidance_parts import GuidanceSettings
from masactrl_video.settings.names import FitMode
from masactrl_video.settings.settings import Settings
from masactrl_video.storage.staging import staged_folder
from masactrl_video.storage.write_errors import check_can_be_made
from masactrl_video.video.clip import open_clip
from masactrl_video.video.fit import plan_fit
from masactrl_video.video.local_file import local_path
from masactrl_video.video.png import png_bytes, write_png

logger = logging.getLogger(__name__)


def load_poses(settings: GuidanceSettings, *paths: Path) -> list[Pose]:
    """The poses of one or more files or folders of JSON, one after the other, on the canvas of the first.

    A path without a suffix where nothing lies is the name of a shipped pose.

    Raises:
        UserError: something cannot be read.
    """
    poses = [pose for path in paths for pose in _poses_of(settings, path)]
    size = {"width_px": poses[0].width_px, "height_px": poses[0].height_px}
    return [pose.scaled(**size) for pose in poses]


def _poses_of(settings: GuidanceSettings, path: Path) -> list[Pose]:
    if str(path) in pose_names() and not path.exists():
        return [named_pose(str(path))]
    log_remarks(path, pose_remarks(path))
    return read_sequence(local_path(path), pose_canvas(settings))


def detect_poses(settings: Settings) -> list[Pose]:
    """The poses of the people in a clip, in its own pixels.

    Raises:
        UserError: the clip or the detector cannot be used, or nobody is in any frame.
    """
    if settings.pose_detector is None:
        raise UserError("pose extract: give --pose-detector: a hub id, a folder, or an 18-point .onnx network")
    clip = open_clip(
        settings.clip,
        selection_of(settings),
        settings.frame_rate,
        allow_partial=settings.allow_partial,
        video_stream=settings.video_stream,
    )
    log_remarks(settings.clip, clip.info.remarks)
    detector = detector_named(settings.pose_detector, settings.pose_threshold)
    poses = [detector(frame.pixels) for frame in counting(clip, "poses", "frame", total=len(clip))]
    if not any(pose.has_person for pose in poses):
        raise nobody_found(detector, len(poses))
    return poses


def treat_poses(settings: Settings, poses: Sequence[Pose], lengths_px: Mapping[str, float] | None = None) -> list[Pose]:
    """The poses as the settings want them; lengths_px, by name of the bone, go before those of the reference.

    Raises:
        UserError: settings that do not fit the poses.
    """
    treatment, _ = plan_treatment(settings, (poses[0].height_px, poses[0].width_px))
    if lengths_px:
        given, measured = given_lengths(lengths_px), treatment.target_lengths_px
        lengths = given if measured is None else np.where(np.isnan(given), measured, given)
        treatment = replace(treatment, target_lengths_px=lengths)
    return treatment(poses)


def on_canvas(poses: Sequence[Pose], width_px: int, height_px: int, fit: FitMode) -> list[Pose]:
    """The poses on a canvas of another size, fitted as frames are."""
    made = []
    for pose in poses:
        plan = plan_fit(
            *(pose.width_px, pose.height_px),
            mode=fit,
            target_width_px=width_px,
            target_height_px=height_px,
            size_factor=1,
            native_area_px=width_px * height_px,
        )
        made.append(pose.transform(plan.apply_points, width_px=width_px, height_px=height_px))
    return made


POSE_OUTPUTS = (".json", "")
SHOWN_OUTPUTS = (".png", "", ".mp4", ".mov", ".mkv", ".webm", ".gif")


@contextmanager
def pose_run(path: Path, asked: Mapping[str, Any], overwrite: bool, suffixes: Sequence[str]) -> Iterator[None]:
    """Inside the context no other process writes the output, and what is done is in its log and report.

    Raises:
        UserError: see `check_output`.
    """
    with alone(Place.file(path), asked, lambda: check_output(path, overwrite, suffixes)):
        yield


def save_poses(path: Path, poses: Sequence[Pose], *, normalised: bool = False, overwrite: bool = False) -> None:
    """Write one list (.json), or a folder with a file for each frame (a name without a suffix).

    Raises:
        UserError: the output exists, or is neither.
    """
    check_output(path, overwrite, POSE_OUTPUTS)
    (write_poses if path.suffix else write_pose_folder)(path, poses, normalised=normalised)


def show_poses(
    path: Path, poses: Sequence[Pose], *, frame_rate: float, sheet_frames: int, overwrite: bool = False
) -> None:
    """Skeletons as a contact sheet (.png), as a video, or as pictures in a new folder (a name without a suffix).

    A sheet shows `sheet_frames` frames, evenly spread from the first to the last, with their numbers. A video whose
    sides would be odd gets a black row or column.

    Raises:
        UserError: the output exists, or is of no known kind.
    """
    check_output(path, overwrite, SHOWN_OUTPUTS)
    if path.suffix.lower() == ".png":
        write_png(path, contact_sheet(poses, sheet_frames))
        return
    drawn = (draw_pose(pose) for pose in counting(poses, "skeletons", "frame"))
    if path.suffix:
        odd = (poses[0].height_px % 2, poses[0].width_px % 2)
        pictures = (png_bytes(np.pad(picture, ((0, odd[0]), (0, odd[1]), (0, 0)))) for picture in drawn)
        encode_video(pictures, [1 / frame_rate] * len(poses), path, overwrite=overwrite)
        return
    with staged_folder(path) as folder:
        for index, picture in enumerate(drawn):
            write_png(folder / frame_name(index), picture)


def contact_sheet(poses: Sequence[Pose], count: int) -> np.ndarray:
    """RGB uint8 (height, width, 3): frames evenly spread, in rows, each with its number."""
    shown = sorted({round(place) for place in np.linspace(0, len(poses) - 1, min(count, len(poses)))})
    columns = int(np.ceil(np.sqrt(len(shown))))
    panels = [(f"frame {index}", draw_pose(poses[index])) for index in shown]
    blank = ("", np.zeros_like(panels[0][1]))
    panels += [blank] * (-len(panels) % columns)
    rows = [side_by_side(panels[start : start + columns]) for start in range(0, len(panels), columns)]
    return np.vstack(rows)


def check_output(path: Path, overwrite: bool, suffixes: Sequence[str]) -> None:
    """See that an output is of a known kind and may be written, before anything slow begins.

    Raises:
        UserError: it exists, or has another suffix.
    """
    if path.suffix.lower() not in suffixes:
        allowed = ", ".join(suffix or "a folder (no suffix)" for suffix in suffixes)
        raise UserError(f"{path}: an output of no known kind; allowed: {allowed}")
    if path.is_dir():
        raise UserError(f"{path} exists; give another folder")
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists; give another name, or --overwrite")
    if path.suffix:
        check_can_be_made(path)
    else:
        check_can_be_made(folder=path)
