"""Poses that ship with the package, by name, and the placing of any pose in a part of a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_json import read_poses

FOLDER = Path(__file__).parent / "shipped"
"""One JSON for each name, made by examples/make_named_poses.py; one person facing us, on a square canvas."""


def pose_names() -> list[str]:
    """Names of the shipped poses."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def named_pose(name: str, where: str = "pose") -> Pose:
    """A shipped pose.

    Raises:
        UserError: there is no pose of that name.
    """
    if name not in pose_names():
        raise UserError(
            f"{where}: there is no pose {name!r}; there are: {', '.join(pose_names())}; or give a .json or picture file"
        )
    return read_poses(FOLDER / f"{name}.json")[0]


def placed_in(pose: Pose, box_px: tuple[int, int, int, int], width_px: int, height_px: int) -> Pose:
    """A pose on a canvas of width_px x height_px, its own canvas as large as fits into the box.

    Proportions are kept; what is left of the box is above, and left and right alike, so that feet stay on the ground.

    Args:
        box_px: left, top, right, bottom.
    """
    left, top, right, bottom = box_px
    scale = min((right - left) / pose.width_px, (bottom - top) / pose.height_px)
    offset = np.array([(left + right - scale * pose.width_px) / 2, bottom - scale * pose.height_px])

    def moved(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        placed: NDArray[np.float64] = xy * scale + offset
        return placed

    return pose.transform(moved, width_px=width_px, height_px=height_px)


def joined(poses: list[Pose]) -> Pose:
    """The people of several poses on one canvas; all have its size."""
    return Pose(tuple(person for pose in poses for person in pose.people), poses[0].width_px, poses[0].height_px)
