"""The ground alone, put together of frames in which the figure is elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from masactrl_video.sprites.body import Body

Picture = NDArray[np.uint8]
Counts = NDArray[np.int_]

_SURE = 3
"""Frames of an action that show a pixel, from which on it is theirs; else it is that of the frames made for it."""
_MOST = 24
"""Of an action's frames, spread over all, that are looked at: memory has a bound."""
_WORK_PX = 512
_WANDER_PX = 3
"""How far an edge of the ground may be from where it is in other frames, at the enlarged size."""


def enlargement(side_px: int) -> int:
    """How many times larger a picture is looked at, so that an outline is some pixels thick."""
    return max(1, _WORK_PX // side_px)


def enlarged(picture: Picture) -> Picture:
    """A picture at the size at which it is looked at."""
    side_px = picture.shape[0] * enlargement(picture.shape[0])
    large = cv2.resize(picture, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, np.uint8)


def largest(levels: NDArray[Any]) -> NDArray[Any]:
    """Of a picture's three channels, for each pixel; NumPy is slow along so short an axis. (side, side)"""
    found: NDArray[Any] = np.maximum(np.maximum(levels[..., 0], levels[..., 1]), levels[..., 2])
    return found


@dataclass(frozen=True, eq=False)
class Ground:
    """What is behind the figure."""

    picture: NDArray[np.float32]
    """RGB (side, side, 3), enlarged."""
    known: NDArray[np.bool_]
    """Whether any frame shows it there. (side, side)"""

    def off(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """By how many levels pixels differ from all the ground that is known close by: edges wander. (side, side)"""
        around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _WANDER_PX + 1,) * 2)
        known = self.known[..., None]
        darkest, lightest = (
            way(np.where(known, self.picture, np.float32(unknown)), around)
            for way, unknown in ((cv2.erode, 999), (cv2.dilate, -999))
        )
        darker, lighter = darkest - values, values - lightest
        return np.asarray(np.maximum(largest(np.maximum(darker, lighter)), 0), np.float32)

    def unevenness(self, frames: Sequence[Picture], bodies: Sequence[Body]) -> float:
        """By how many levels frames differ from it where it is seen: the median over a few frames of the mean."""
        few = np.unique(np.linspace(0, len(frames) - 1, 6).round().astype(int))
        off = [np.abs(enlarged(frames[at]).astype(np.float32) - self.picture).mean(axis=2) for at in few]
        seen = [~(bodies[at].possible() | bodies[at].shadowed()) & self.known for at in few]
        return float(np.median([levels[where].mean() for levels, where in zip(off, seen, strict=True)]))


def ground_of(frames: Sequence[Picture], bodies: Sequence[Body], aside: int) -> Ground:
    """The median of what frames show where their figure cannot be.

    Args:
        frames: RGB (side, side, 3) each.
        bodies: where the figure is in each, at the enlarged size.
        aside: how many of them, the last ones, were made to show the ground: their figure stands aside.
    """
    own = len(frames) - aside
    spread = np.unique(np.linspace(0, own - 1, min(_MOST, own)).round().astype(int))
    shown = {at: ~(bodies[at].possible() | bodies[at].shadowed()) for at in (*spread, *range(own, len(frames)))}
    picture, count = _median([frames[at] for at in spread], [shown[at] for at in spread])
    beside, more = _median(frames[own:], [shown[at] for at in range(own, len(frames))])
    often = count >= _SURE
    return Ground(np.where(often[..., None], picture, beside), often | (more > 0))


def _median(frames: Sequence[Picture], shown: Sequence[NDArray[np.bool_]]) -> tuple[NDArray[np.float32], Counts]:
    """Of what frames show, and how many show it."""
    stack = [np.where(where[..., None], enlarged(frame), np.nan) for frame, where in zip(frames, shown, strict=True)]
    order = np.sort(np.array(stack, np.float32), axis=0)  # NaN comes last
    count = np.sum(shown, axis=0)
    middle = np.maximum(count - 1, 0) // 2
    found = np.take_along_axis(order, np.repeat(middle[None, ..., None], 3, axis=-1), axis=0)[0]
    return np.nan_to_num(found).astype(np.float32), count
