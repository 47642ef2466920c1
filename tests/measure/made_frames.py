"""Frames with known answers, as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from masactrl_video.measure.figure import Figure
from masactrl_video.measure.moments import Mask, Meter, Moment, Picture
from masactrl_video.poses.pose import Person, Pose


def texture(height: int = 48, width: int = 64, *, seed: int = 0, blur: float = 2.0) -> Picture:
    """Smooth noise over the whole range, tileable."""
    values = gaussian_filter(np.random.default_rng(seed).random((height, width, 3)), (blur, blur, 0), mode="wrap")
    values = (values - values.min()) / np.ptp(values)
    return np.asarray(np.round(values * 255), np.uint8)


def rolled(picture: Picture, count: int, step_px: int = 2) -> list[Picture]:
    """A clip in which a tileable picture moves to the right."""
    return [np.roll(picture, at * step_px, axis=1) for at in range(count)]


def plain(level: float | Sequence[float], height: int = 32, width: int = 32) -> Picture:
    """One colour."""
    return np.broadcast_to(np.asarray(level, np.uint8), (height, width, 3)).copy()


def noisy(picture: Picture, deviation: float, seed: int) -> Picture:
    """With noise of a deviation in levels of 255: the same pattern for a seed, scaled."""
    noise = np.random.default_rng(seed).standard_normal(picture.shape)
    return np.asarray(np.clip(np.round(picture + deviation * noise), 0, 255), np.uint8)


def measured(meter: Meter, moments: Iterable[Moment]) -> dict[str, Figure]:
    """What a meter says of moments."""
    for moment in moments:
        meter.add(moment)
    return {figure.about.name: figure for figure in meter.figures()}


def moments_of(
    made: Sequence[Picture], original: Sequence[Picture] | None = None, mask: Mask | None = None
) -> list[Moment]:
    """Frames beside those of the input."""
    originals = original or [None] * len(made)
    return [Moment(at, one, other, mask) for at, (one, other) in enumerate(zip(made, originals, strict=True))]


STANDING = np.array(
    [
        *([32, 12], [32, 18], [26, 18], [24, 26], [23, 33], [38, 18], [40, 26], [41, 33]),
        *([28, 34], [27, 44], [27, 54], [36, 34], [37, 44], [37, 54], [30, 10], [34, 10], [28, 11], [36, 11]),
    ],
    np.float32,
)
"""(18, 2) in px, of one person on a canvas of 64x64."""


def pose(moved_px: tuple[float, float] = (0, 0), *, without: Sequence[int] = (), points: np.ndarray = STANDING) -> Pose:
    """One person, moved, some points missing."""
    body = np.column_stack([points + np.float32(moved_px), np.ones(18)]).astype(np.float32)
    body[list(without)] = 0
    return Pose((Person(body),), 64, 64)
