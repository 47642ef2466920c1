"""Canny edges of a frame, as ControlNet and T2I-Adapter for canny expect them."""

import math

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError


def check_thresholds(low_threshold: float, high_threshold: float) -> None:
    """Raises UserError unless 0 <= low <= high: OpenCV would swap them in silence."""
    if not (0 <= low_threshold <= high_threshold < math.inf):
        raise UserError(
            f"canny thresholds: low {low_threshold}, high {high_threshold}; allowed: 0 <= low <= high (usual: 100, 200)"
        )


def canny_edges(image: NDArray[np.uint8], low_threshold: float, high_threshold: float) -> NDArray[np.uint8]:
    """White edges on black, RGB uint8 (height, width, 3), of an RGB uint8 image of that shape.

    The thresholds are those of cv2.Canny: gradients above the high one start an edge, above the low one continue it.
    Raises UserError when they are not 0 <= low <= high.
    """
    check_thresholds(low_threshold, high_threshold)
    import cv2  # thresholds are checked without it

    edges = cv2.Canny(image, low_threshold, high_threshold)  # (height, width)
    return np.repeat(edges[:, :, None], 3, axis=2)
