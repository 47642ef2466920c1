"""ComfyUI's POSE_KEYPOINT, a list of frames as pose JSON has them, and what the pose nodes do with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from masactrl_video.errors import UserError
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_json import frames_of, poses_from
from masactrl_video.poses.proportions import measure
from masactrl_video.poses.repair import PoseTreatment
from masactrl_video.poses.tween import tween
from masactrl_video.settings.names import Easing

Frames = list[dict[str, Any]]


def retargeted(frames: Sequence[Any], reference: Sequence[Any], *, keep_foreshortening: bool = False) -> Frames:
    """The poses with the proportions of the first person of the reference's first frame, at the poses' own scale.

    Raises:
        UserError: a frame cannot be read, or nobody is where somebody is needed.
    """
    poses, other = poses_from(frames, "poses"), poses_from(reference, "reference")
    first = other[0].scaled(width_px=poses[0].width_px, height_px=poses[0].height_px)
    person = next((person for person in first.people if person.visible), None)
    if person is None:
        raise UserError("reference: nobody is in its first frame; give a pose of the body that is wanted")
    return frames_of(PoseTreatment(target_lengths_px=measure(person), keep_foreshortening=keep_foreshortening)(poses))


def smoothed(frames: Sequence[Any], *, window: int, longest_gap: int) -> Frames:
    """The poses without trembling, and keypoints that are missing for a few frames filled in.

    Raises:
        UserError: a frame cannot be read, or the window is even.
    """
    poses = poses_from(frames, "poses")
    return frames_of(PoseTreatment(longest_gap_frames=longest_gap, smooth_window_frames=window)(poses))


def tweened(keys: Sequence[Any], *, between: int, easing: Easing, loop: bool) -> Frames:
    """The key poses with so many poses between each two; closed, the first follows the last.

    Raises:
        UserError: a frame cannot be read, or there are too few.
    """
    poses = poses_from(keys, "keys")
    at = [number * (between + 1) for number in range(len(poses) + loop)]
    return frames_of(tween(poses, at, easing=easing, loop=loop))


def drawn(frames: Sequence[Any]) -> np.ndarray:
    """(frames, height, width, 3) float32 in [0, 1]: skeletons in the colours of ControlNet, on the first's canvas."""
    from masactrl_video.poses.draw import draw_pose

    poses: list[Pose] = poses_from(frames, "poses")
    size = {"width_px": poses[0].width_px, "height_px": poses[0].height_px}
    return np.stack([draw_pose(pose.scaled(**size)) for pose in poses]).astype(np.float32) / 255
