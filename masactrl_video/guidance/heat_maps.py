"""Peaks of OpenPose's part heat maps (Cao et al., arXiv 1812.08008, section 3.3)."""

import cv2
import numpy as np
from numpy.typing import NDArray

FloatMap = NDArray[np.float32]

NEIGHBOURHOOD = np.ones((5, 5), np.uint8)
"""Two people's same part are at least three cells apart."""


def find_peaks(heat_map: FloatMap, threshold: float) -> FloatMap:
    """Local maxima above the threshold: float32 (peaks, 3) = x, y in cells of the map with fractions, height.

    heat_map is float32 (rows, columns). The fraction is the vertex of a parabola through the maximum and its
    two neighbours, along each axis.
    """
    highest = cv2.dilate(heat_map, NEIGHBOURHOOD)
    rows, columns = np.nonzero((heat_map == highest) & (heat_map > threshold))
    padded = np.pad(heat_map, 1, mode="edge")
    height = heat_map[rows, columns]
    x = columns + _vertex(padded[rows + 1, columns], height, padded[rows + 1, columns + 2])
    y = rows + _vertex(padded[rows, columns + 1], height, padded[rows + 2, columns + 1])
    return np.stack([x, y, height], axis=1).astype(np.float32)  # -> (peaks, 3)


def _vertex(left: FloatMap, middle: FloatMap, right: FloatMap) -> FloatMap:
    """Offset from the middle, within half a cell, of the vertex of a parabola through three equidistant values."""
    curvature = left - 2 * middle + right
    flat = curvature >= 0
    offset = 0.5 * (left - right) / np.where(flat, -1, curvature)
    return np.where(flat, 0, np.clip(offset, -0.5, 0.5)).astype(np.float32)
