"""Short gaps filled and jitter smoothed, keypoint by keypoint over time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from masactrl_video.errors import UserError, counted

Floats = NDArray[np.float64]

POLYNOMIAL_ORDER = 2
SHORTEST_WINDOW_FRAMES = POLYNOMIAL_ORDER + 3
"""A shorter window would leave all as it is: its parabola goes through every frame."""


def fill_gaps(points: Floats, longest_frames: int) -> Floats:
    """(frames, points, 3) with keypoints that are missing for at most `longest_frames` interpolated linearly.

    Position and confidence are interpolated between the frames before and after the gap. A gap at the beginning or the
    end has one side only and stays, and so does a longer one.
    """
    filled = points.copy()
    for index in range(points.shape[1]):
        seen = np.flatnonzero(points[:, index, 2] > 0)
        for before, after in pairwise(seen):
            if 1 < after - before <= longest_frames + 1:
                weight = np.linspace(0, 1, after - before + 1)[1:-1, None]
                filled[before + 1 : after, index] = (1 - weight) * points[before, index] + weight * points[after, index]
    return filled


def smooth_points(points: Floats, window_frames: int) -> Floats:
    """(frames, points, 3) with positions smoothed by a Savitzky-Golay filter: parabolas fitted to a sliding window.

    The window is symmetric, so nothing is delayed. Every stretch without a gap is smoothed for itself: missing points
    stay missing and pull at nothing. A stretch that is shorter than the window gets the longest odd window that fits,
    and stays as it is below SHORTEST_WINDOW_FRAMES. Raises UserError for a window that is even or too short.
    """
    check_window(window_frames)
    smoothed = points.copy()
    for index in range(points.shape[1]):
        for stretch in _stretches(points[:, index, 2] > 0):
            length = stretch.stop - stretch.start
            window = min(window_frames, length - 1 + length % 2)
            if window >= SHORTEST_WINDOW_FRAMES:
                smoothed[stretch, index, :2] = _by_parabolas(points[stretch, index, :2], window)
    return smoothed


def _by_parabolas(values: Floats, window: int) -> Floats:
    """(frames, axes), at least `window` frames: each becomes the value there of the parabola fitted around it.

    At both ends it is the parabola of the first and the last window. It is what `scipy.signal.savgol_filter` gives;
    to import that takes longer than everything else that is done with a short clip's poses.
    """
    half = window // 2
    powers = np.vander(np.arange(-half, half + 1) / half, POLYNOMIAL_ORDER + 1)
    fitted = powers @ np.linalg.pinv(powers)  # a window's values → its parabola's
    middle = sliding_window_view(values, window, axis=0) @ fitted[half]
    return np.concatenate([fitted[:half] @ values[:window], middle, fitted[half + 1 :] @ values[-window:]])


def check_window(window_frames: int) -> None:
    """Raises UserError unless the window is odd and long enough to smooth at all."""
    if window_frames < SHORTEST_WINDOW_FRAMES or window_frames % 2 == 0:
        raise UserError(
            f"smoothing window: got {counted(window_frames, 'frame')}; allowed: odd numbers from "
            f"{SHORTEST_WINDOW_FRAMES}"
        )


def _stretches(seen: NDArray[np.bool_]) -> list[slice]:
    """Runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], seen, [False]]).astype(np.int8)))
    return [slice(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
