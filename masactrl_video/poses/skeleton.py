"""Body and hands as trees of bones: which bone hangs on which, what each is called, how long it is in a picture."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from masactrl_video.poses.pose import BODY_NAMES, FINGERS, LIMBS

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Bones = tuple[tuple[int, int], ...]
"""(parent, child) of each bone, a parent's own bone before its children's."""

BODY_BONES: Bones = LIMBS
"""A tree that hangs on the neck: the middle of the hips has no point of its own among the 18."""
HAND_BONES: Bones = FINGERS
"""A tree that hangs on the wrist."""

BONE_NAMES = (
    "right-shoulder", "left-shoulder", "right-upper-arm", "right-forearm", "left-upper-arm", "left-forearm",
    "right-trunk", "right-thigh", "right-shin", "left-trunk", "left-thigh", "left-shin",
    "neck", "right-eye", "right-ear", "left-eye", "left-ear",
)  # fmt: skip
"""Of BODY_BONES. A trunk goes from the neck to a hip, the neck to the nose, an eye from there, an ear from its eye."""

NOSE, NECK = BODY_NAMES.index("nose"), BODY_NAMES.index("neck")
HIPS = [BODY_NAMES.index("right hip"), BODY_NAMES.index("left hip")]
ANKLES = [BODY_NAMES.index("right ankle"), BODY_NAMES.index("left ankle")]
WRISTS = {"left_hand": BODY_NAMES.index("left wrist"), "right_hand": BODY_NAMES.index("right wrist")}
"""The body point on which each hand of a Person hangs."""


def mirrored_bone(bone: int) -> int:
    """The same bone of the other side; the neck is its own."""
    side, _, rest = BONE_NAMES[bone].partition("-")
    other = {"right": "left", "left": "right"}.get(side)
    return bone if other is None else BONE_NAMES.index(f"{other}-{rest}")


def bone_lengths(points: Floats, bones: Bones) -> Floats:
    """Length in px of every bone, (…, bones), of points (…, points, 3); NaN where an end is missing."""
    parents, children = np.array(bones).T
    lengths: Floats = np.linalg.norm(points[..., children, :2] - points[..., parents, :2], axis=-1)
    lengths[(points[..., parents, 2] <= 0) | (points[..., children, 2] <= 0)] = np.nan
    return lengths


def full_lengths(points: Floats, bones: Bones) -> Floats:
    """What each bone measures where it is not foreshortened: the 95th percentile over the frames, (bones,) px.

    points is (frames, points, 3). The percentile, not the maximum, so that one badly detected frame decides nothing.
    NaN for a bone that is seen in no frame.
    """
    lengths = bone_lengths(points, bones)
    seen = [column[~np.isnan(column)] for column in lengths.T]
    return np.array([np.percentile(column, 95) if len(column) else math.nan for column in seen])


def nearest_ancestors(seen: Flags, bones: Bones) -> NDArray[np.intp]:
    """(frames, points): the nearest seen point up the tree, which is the parent where that is seen; -1 for none."""
    ancestors = np.full(seen.shape, -1, np.intp)
    for parent, child in bones:
        ancestors[:, child] = np.where(seen[:, parent], parent, ancestors[:, parent])
    return ancestors


def middle(points: Floats, indices: list[int]) -> Floats:
    """(frames, 2): the middle of some points (frames, points, 3); NaN where one of them is missing."""
    chosen = points[:, indices]
    centre: Floats = chosen[..., :2].mean(axis=1)
    centre[(chosen[..., 2] <= 0).any(axis=1)] = np.nan
    return centre


def over_time(values: Floats) -> Floats:
    """(frames, …) with NaN replaced by linear interpolation over time, at the ends by the nearest; 0 if all is NaN."""
    flat = values.reshape(len(values), -1).copy()
    for column in flat.T:
        known = np.flatnonzero(~np.isnan(column))
        column[:] = np.interp(np.arange(len(column)), known, column[known]) if len(known) else 0.0
    return flat.reshape(values.shape)
