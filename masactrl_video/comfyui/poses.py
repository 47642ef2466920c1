"""ComfyUI's POSE_KEYPOINT, a list of frames as pose JSON has them, and what the pose nodes do with it."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from masactrl_video.errors import UserError
from masactrl_video.poses.cycles import cycle
from masactrl_video.poses.pose import HAND_POINTS, Keypoints, Person, Pose
from masactrl_video.poses.pose_json import poses_from
from masactrl_video.poses.proportions import measure
from masactrl_video.poses.repair import PoseTreatment, without_doubtful
from masactrl_video.poses.tween import tween
from masactrl_video.settings.names import Easing

logger = logging.getLogger(__name__)

Frames = list[dict[str, Any]]

EYES = slice(14, 16)
"""Of the body's points, the two that ComfyUI repeats at the end of the face."""


def read(frames: Sequence[Any], where: str) -> list[Pose]:
    """The poses of frames; points of feet are left out, and that is said.

    Raises:
        UserError: a frame cannot be read.
    """
    poses = poses_from(frames, where)
    feet = [person.get("foot_keypoints_2d") for frame in frames for person in frame.get("people") or ()]
    if any(isinstance(points, list) and any(points) for points in feet):
        logger.warning("%s: points of feet (foot_keypoints_2d) are left out; body, face and hands go on", where)
    return poses


def frames_of(poses: Sequence[Pose]) -> Frames:
    """Frames as ComfyUI's own nodes take them: every part is there, points that are missing are 0."""
    return [
        {
            "canvas_width": pose.width_px,
            "canvas_height": pose.height_px,
            "people": [_person_json(person) for person in pose.people],
        }
        for pose in poses
    ]


def shipped(movement: str, view: str) -> Frames:
    """A movement that comes with the package; the first frame follows the last."""
    return frames_of(cycle(movement, view))


def read_json(text: str) -> Frames:
    """Frames of a text: one frame, or a list of them.

    Raises:
        UserError: it is none.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"poses: not JSON ({error!s:.80}); give what Poses to JSON wrote, or an editor's file"
        ) from error
    return frames_of(read(content if isinstance(content, list) else [content], "poses"))


def as_json(frames: Sequence[Any]) -> str:
    """A text that `read_json` reads, to be edited by hand."""
    return json.dumps(frames_of(read(frames, "poses")))


def _person_json(person: Person) -> dict[str, list[float]]:
    face = person.face
    if face is not None and len(face) == 68:
        face = np.concatenate([face, person.body[EYES]])
    return {
        "pose_keypoints_2d": _flat(person.body, 18),
        "face_keypoints_2d": _flat(face, 70),
        "hand_left_keypoints_2d": _flat(person.left_hand, HAND_POINTS),
        "hand_right_keypoints_2d": _flat(person.right_hand, HAND_POINTS),
    }


def _flat(points: Keypoints | None, count: int) -> list[float]:
    found: list[float] = [0.0] * (3 * count) if points is None else points.flatten().tolist()
    return found


def retargeted(frames: Sequence[Any], reference: Sequence[Any], *, keep_foreshortening: bool = False) -> Frames:
    """The poses with the proportions of the first person of the reference's first frame, at the poses' own scale.

    Raises:
        UserError: a frame cannot be read, or nobody is where somebody is needed.
    """
    poses, other = read(frames, "poses"), read(reference, "reference")
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
    poses = read(frames, "poses")
    return frames_of(PoseTreatment(longest_gap_frames=longest_gap, smooth_window_frames=window)(poses))


def tweened(keys: Sequence[Any], *, between: int, easing: Easing, loop: bool) -> Frames:
    """The key poses with so many poses between each two; closed, the first follows the last.

    Raises:
        UserError: a frame cannot be read, or there are too few.
    """
    poses = read(keys, "keys")
    at = [number * (between + 1) for number in range(len(poses) + loop)]
    return frames_of(tween(poses, at, easing=easing, loop=loop))


def drawn(frames: Sequence[Any], min_confidence: float = 0.3) -> np.ndarray:
    """(frames, height, width, 3) float32 in [0, 1]: skeletons in the colours of ControlNet, on the first's canvas.

    Args:
        min_confidence: points below it are not drawn.

    Raises:
        UserError: a frame cannot be read.
    """
    from masactrl_video.poses.draw import draw_pose

    poses = [without_doubtful(pose, min_confidence) for pose in read(frames, "poses")]
    size = {"width_px": poses[0].width_px, "height_px": poses[0].height_px}
    return np.stack([draw_pose(pose.scaled(**size)) for pose in poses]).astype(np.float32) / 255
