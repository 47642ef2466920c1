"""A pose sequence as a clip: it gives the number of frames, their times and the canvas; its pictures are skeletons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError, any_of
from masactrl_video.poses.draw import draw_pose
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_json import POSE_SUFFIXES, pose_files, pose_remarks, read_poses
from masactrl_video.storage.fingerprint import files_sha256
from masactrl_video.video.clip import DEFAULT_FRAME_RATE, Clip
from masactrl_video.video.frame import ClipInfo, Selection, Timing
from masactrl_video.video.frame_files import visible
from masactrl_video.video.picture_file import picture_suffixes


class PoseFrames:
    """Poses as a source of frames (see video.clip.FrameSource): drawn when they are read, no file needed."""

    def __init__(self, path: Path, poses: Sequence[Pose], frame_rate: float) -> None:
        """Poses on canvases of one size, at least one. Raises UserError for a frame rate that is not above 0."""
        if not frame_rate > 0:
            raise UserError(f"the frame rate is {frame_rate}; it must be above 0")
        self._poses = poses
        self.timings = tuple(Timing(n, n / frame_rate, 1 / frame_rate) for n in range(len(poses)))
        self.info = ClipInfo(
            path=path,
            kind="poses",
            width_px=poses[0].width_px,
            height_px=poses[0].height_px,
            rotation_degrees=0,
            num_frames=len(poses),
            average_frame_rate=frame_rate,
            duration_seconds=len(poses) / frame_rate,
            has_audio=False,
            remarks=pose_remarks(path),
        )

    def read(self, positions: range) -> Iterator[NDArray[np.uint8]]:
        """The skeletons at `positions`, RGB (height, width, 3)."""
        return (draw_pose(self._poses[position]) for position in positions)


def is_pose_json(path: Path) -> bool:
    """Whether a path names pose JSON rather than a video or pictures: a .json file, or a folder with such and no image.

    Hidden files do not count. A folder of guidance, which holds both, is taken for its pictures; its pose.json can be
    named instead.
    """
    if not path.is_dir():
        return path.suffix.lower() in POSE_SUFFIXES
    suffixes = {file.suffix.lower() for file in visible(path)}
    return not suffixes.isdisjoint(POSE_SUFFIXES) and suffixes.isdisjoint(picture_suffixes())


def open_pose_clip(
    path: Path,
    selection: Selection | None = None,
    frame_rate: float | None = None,
    size_px: tuple[int, int] | None = None,
) -> Clip:
    """Pose JSON as a clip, at DEFAULT_FRAME_RATE when frame_rate is None; size_px as for read_sequence.

    Raises UserError as read_poses does, and when the selection or the frame rate cannot be used.
    """
    poses = read_sequence(path, size_px)
    return Clip(
        PoseFrames(path, poses, DEFAULT_FRAME_RATE if frame_rate is None else frame_rate), selection or Selection()
    )


def read_sequence(path: Path, size_px: tuple[int, int] | None = None) -> list[Pose]:
    """The poses of a file or folder, all on the canvas of the first.

    size_px (width, height) is the canvas of frames that name none. Raises UserError as read_poses does, and where
    nobody is in any frame.
    """
    poses = read_poses(path, size_px=size_px)
    if not any(pose.has_person for pose in poses):
        raise UserError(f"{path}: nobody is in {any_of(len(poses), 'frame')}")
    width_px, height_px = poses[0].width_px, poses[0].height_px
    return [
        pose
        if (pose.width_px, pose.height_px) == (width_px, height_px)
        else pose.scaled(width_px=width_px, height_px=height_px)
        for pose in poses
    ]


def size_from_text(text: str) -> tuple[int, int]:
    """(width, height) in px of a text such as 640x480, whose form the settings have checked."""
    width, height = text.split("x")
    return int(width), int(height)


def fingerprint_poses(path: Path) -> str:
    """SHA-256 (hex) of the bytes of a pose JSON, or of a folder's in order."""
    return files_sha256(pose_files(path))
