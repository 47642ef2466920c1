"""Frames at which a clip gets another source, chosen by its guidance: where that leaves what sources have shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.poses.agreement import distances_px, torso_px
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_json import read_poses
from masactrl_video.poses.tracking import choose_person, track_people

Distance = Callable[[int, int], float]
"""How far the guidance of a frame is from that of another; symmetric only by accident."""

MOST = 32
"""Sources on one clip; more would be a sign of guidance that jumps."""

NEAR = 0.02
"""Share of the diagonal within which an edge is that of the source."""


class GuidanceOfClip(Protocol):
    """Guidance pictures of a whole clip."""

    @property
    def pose_path(self) -> Path | None:
        """The poses that were drawn; None where the pictures show no poses, or were given."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]: ...


def spread(sources: int, frames: int) -> list[int]:
    """The first frames of so many equal parts of a clip."""
    return [number * frames // sources for number in range(sources)]


def chosen(frames: int, distance: Distance, threshold: float, apart_frames: int = 1) -> list[int]:
    """Frame 0, and every frame whose guidance is farther than `threshold` from that of each frame chosen before.

    Args:
        apart_frames: least number of frames from one to the next.

    Raises:
        UserError: more than `MOST`.
    """
    found = [0]
    for frame in range(1, frames):
        if frame - found[-1] >= apart_frames and min(distance(frame, key) for key in found) > threshold:
            found.append(frame)
            if len(found) > MOST:
                raise UserError(
                    f"key_frames auto: more than {MOST} sources by frame {frame}; the guidance jumps, or give a "
                    f"key_frame_threshold above {threshold:g}"
                )
    return found


def distance_in(guidance: Mapping[str, GuidanceOfClip]) -> Distance:
    """By poses where there are such, else by edges.

    Args:
        guidance: kind → guidance of the whole clip.

    Raises:
        UserError: there are neither, because pictures of poses are given.
    """
    if "pose" in guidance and (path := guidance["pose"].pose_path) is not None:
        return pose_distance(read_poses(path))
    if "canny" in guidance:
        return edge_distance(guidance["canny"])
    raise UserError(
        "key_frames auto: guidance pose is given as pictures, which tell no poses; give pose_json, or a number"
    )


def pose_distance(poses: Sequence[Pose]) -> Distance:
    """Mean distance of the largest person's points that both frames have, in lengths of the torso.

    The skeletons are normalised: the middle of those points is laid on the other's, and the torso of each has length 1,
    so that neither walking through the picture nor coming nearer counts. A body turned round has its sides exchanged,
    and is far from itself. Frames without common points, or with nobody, show nothing that must be known: distance 0.
    """
    chosen_poses = choose_person(track_people(poses), "largest") if any(pose.has_person for pose in poses) else poses
    bodies = [pose.people[0].body if pose.has_person else None for pose in chosen_poses]

    def distance(frame: int, key: int) -> float:
        one, other = bodies[frame], bodies[key]
        if one is None or other is None:
            return 0.0
        both = (one[:, 2] > 0) & (other[:, 2] > 0)
        if not both.any():
            return 0.0
        placed = [np.where(both[:, None], _normalised(body, both), 0.0) for body in (one, other)]
        return float(np.nanmean(distances_px(placed[0], placed[1])))

    return distance


def _normalised(body: NDArray[np.float32], points: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(18, 3) around the middle of some points, in lengths of the torso (of half the body's height without one)."""
    placed = body.astype(np.float64)
    length = torso_px(body)
    if not length > 0:
        length = max(1.0, float(np.ptp(placed[points, 1])) / 2)
    placed[:, :2] = (placed[:, :2] - placed[points, :2].mean(axis=0)) / length
    return placed


def edge_distance(pictures: GuidanceOfClip) -> Distance:
    """Share of a frame's edges that are farther than `NEAR` of the diagonal from all edges of the other frame."""
    import cv2

    near: dict[int, NDArray[np.bool_]] = {}

    def edges(frame: int) -> NDArray[np.uint8]:
        return np.asarray(pictures[frame].max(axis=2) > 127, np.uint8)

    def distance(frame: int, key: int) -> float:
        if key not in near:
            of_key = edges(key)
            away = cv2.distanceTransform(1 - of_key, cv2.DIST_L2, 5) if of_key.any() else np.full(of_key.shape, np.inf)
            near[key] = away <= NEAR * np.hypot(*of_key.shape)
        own = edges(frame) > 0
        return float((own & ~near[key]).sum() / own.sum()) if own.any() else 0.0

    return distance
