"""One array of numbers from a pose JSON, made into keypoints in pixels."""

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError, counted
from masactrl_video.guidance.pose import BODY_POINTS, Keypoints

COCO_FROM_BODY_25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
"""BODY_25 index of each of the 18 points: its point 8, the middle of the hips, and its feet have no place there."""

LARGEST_NORMALISED = 2.0
"""Coordinates from 0 to 1 run slightly over where a point lies outside the picture; in pixels a whole body, hand or
face within the first two pixels does not occur."""

LARGEST_COORDINATE_PX = 1e6


def keypoints_px(numbers: object, *, allowed: tuple[int, ...], size_px: tuple[int, int], where: str) -> Keypoints:
    """Keypoints float32 (points, 3) from a flat list x, y, c, x, y, c, … with one of the allowed numbers of points.

    Whether the coordinates are pixels or 0 to 1 of size_px (width, height) is decided for the array as a whole.
    A point with c <= 0, at (0, 0) or at (-1, -1), or with a coordinate of -1 pixel, is missing.
    Raises UserError, which begins with `where`.
    """
    flat = _finite_floats(numbers, where)
    if flat.size not in [3 * count for count in allowed]:
        counts = " or ".join(f"3 x {count}" for count in allowed)
        raise UserError(f"{where}: {counted(flat.size, 'number')}; allowed: {counts} (x, y, confidence of each point)")
    points = flat.reshape(-1, 3)  # -> (points, 3)
    points[_is_missing(points)] = 0
    if np.abs(points[:, :2]).max() <= LARGEST_NORMALISED:
        points[:, :2] *= size_px
    # controlnet_aux marks a missing hand or face coordinate by -1 pixel, and divides it by the size with the others
    points[np.isclose(points[:, :2], -1, rtol=0, atol=1e-3).any(axis=1)] = 0
    if np.abs(points[:, :2]).max() > LARGEST_COORDINATE_PX:
        raise UserError(f"{where}: a coordinate of {np.abs(points[:, :2]).max():g} pixels; allowed: up to 1000000")
    return points.astype(np.float32)


def body_px(numbers: object, *, size_px: tuple[int, int], where: str) -> Keypoints:
    """A body float32 (18, 3) from 18 points or from the 25 of BODY_25. Raises UserError as keypoints_px does."""
    points = keypoints_px(numbers, allowed=(BODY_POINTS, 25), size_px=size_px, where=where)
    return points if len(points) == BODY_POINTS else points[list(COCO_FROM_BODY_25)]


def _finite_floats(numbers: object, where: str) -> NDArray[np.float64]:
    if not isinstance(numbers, list) or not all(type(number) in (int, float) for number in numbers):
        raise UserError(f"{where}: a flat list of numbers x, y, confidence is wanted")
    try:
        points = np.array(numbers, np.float64)
    except OverflowError:  # an integer of hundreds of digits
        points = np.array([np.inf])
    if not np.isfinite(points).all():
        raise UserError(f"{where}: contains NaN or an infinite number; only finite numbers are allowed")
    return points


def _is_missing(
    points: NDArray[np.float64],
) -> NDArray[np.bool_]:
    x, y, confidence = points.T
    missing: NDArray[np.bool_] = ((x == 0) & (y == 0)) | ((x == -1) & (y == -1)) | (confidence <= 0)
    return missing
