"""How near the keypoints of two poses lie."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from masactrl_video.poses.pose import BODY_NAMES, Keypoints
from masactrl_video.poses.skeleton import NECK, NOSE

Floats = NDArray[np.float64]

_COCO = {
    "nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062, "hip": 0.107,
    "knee": 0.087, "ankle": 0.089,
}  # fmt: skip
SIGMAS = np.array([_COCO.get(name.split()[-1], np.nan) for name in BODY_NAMES])
"""(18,): how far people differ who mark a point, as a share of the body's size (COCO); NaN for the neck, which COCO
does not have."""

SHARE_OF_BOX = 0.53
"""Of a body's box that the body fills, for objects without an outline, as mmpose takes it."""


def distances_px(found: Keypoints, wanted: NDArray[np.floating[Any]]) -> Floats:
    """(18,): how far each wanted point is from where it is found; infinite where it is not found, NaN where it is not
    wanted. Both are (18, 3)."""
    away = np.linalg.norm(found[:, :2].astype(np.float64) - wanted[:, :2], axis=1)
    away[found[:, 2] <= 0] = np.inf
    away[wanted[:, 2] <= 0] = np.nan
    return np.asarray(away, np.float64)


def torso_px(body: Keypoints) -> float:
    """From the left shoulder to the right hip (Sapp and Taskar 2013); NaN where one of them is missing."""
    return _length_px(body, BODY_NAMES.index("left shoulder"), BODY_NAMES.index("right hip"))


def head_px(body: Keypoints) -> float:
    """From the neck to the nose; NaN where one of them is missing. The 18 points do not have MPII's box of the head."""
    return _length_px(body, NECK, NOSE)


def _length_px(body: Keypoints, one: int, other: int) -> float:
    if min(body[one, 2], body[other, 2]) <= 0:
        return float("nan")
    return float(np.linalg.norm(body[one, :2].astype(np.float64) - body[other, :2]))


def similarity(found: Keypoints, wanted: Keypoints) -> float:
    """COCO's object keypoint similarity: the mean over wanted points of exp(−d² / (2 s² (2σ)²)).

    s² is `SHARE_OF_BOX` of the box around the wanted points. NaN where none of COCO's points is wanted, or the box has
    no area.
    """
    seen = (wanted[:, 2] > 0) & ~np.isnan(SIGMAS)
    if not seen.any():
        return float("nan")
    points = wanted[wanted[:, 2] > 0, :2].astype(np.float64)
    area_px = SHARE_OF_BOX * float(np.prod(np.ptp(points, axis=0)))
    if area_px <= 0:
        return float("nan")
    away = distances_px(found, wanted)[seen]
    return float(np.exp(-np.square(away) / (2 * area_px * np.square(2 * SIGMAS[seen]))).mean())
