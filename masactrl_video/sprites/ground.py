"""The ground alone, put together of frames in which the figure is elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from masactrl_video.sprites.body import Body, Flags

Picture = NDArray[np.uint8]
Counts = NDArray[np.int_]

_SURE = 3
"""Frames of an action that show a pixel, from which on it is theirs; else it is that of the frames made for it."""
_MOST = 24
"""Of an action's frames, spread over all, that are looked at: memory has a bound."""
_WORK_PX = 512
_WANDER_PX = 3
"""How far an edge of the ground may be from where it is in other frames, at the enlarged size."""
_CLEAR_PX, _SPECK_PX, _BLUR_PX = 9, 3, 6
"""How far from a figure a frame tells of the ground; half width of what is too small to tell; and how far what is wrong
reaches into what is beside it."""
_OTHER, _ALIKE = 45, 30
"""Levels by which a place is another, and up to which it belongs to the same thing."""


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


def disc(radius_px: int) -> NDArray[np.uint8]:
    """Kernel of a morphological filter."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1,) * 2), np.uint8)


@dataclass(frozen=True, eq=False)
class Ground:
    """What is behind the figure."""

    picture: NDArray[np.float32]
    """RGB (side, side, 3), enlarged."""
    known: NDArray[np.bool_]
    """Whether any frame shows it there. (side, side)"""

    def off(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """By how many levels pixels differ from all the ground that is known close by: edges wander. (side, side)"""
        around = disc(_WANDER_PX)
        known = self.known[..., None]
        darkest, lightest = (
            way(np.where(known, self.picture, np.float32(unknown)), around)
            for way, unknown in ((cv2.erode, 999), (cv2.dilate, -999))
        )
        darker, lighter = darkest - values, values - lightest
        return np.asarray(np.maximum(largest(np.maximum(darker, lighter)), 0), np.float32)

    def difference(self, values: NDArray[np.float32]) -> Picture:
        """By how many levels pixels differ from it, as a picture: half of that, beside 128. RGB (side, side, 3)

        Where it is not known, it is taken to be of its mean colour.
        """
        mean = self.picture[self.known].mean(axis=0) if self.known.any() else np.full(3, 128, np.float32)
        behind = np.where(self.known[..., None], self.picture, mean)
        return np.asarray((128 + (values - behind) / 2).round().clip(0, 255), np.uint8)

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
    spread = _spread(own)
    shown = {at: ~(bodies[at].possible() | bodies[at].shadowed()) for at in (*spread, *range(own, len(frames)))}
    picture, count = _median([frames[at] for at in spread], [shown[at] for at in spread])
    beside, more = _median(frames[own:], [shown[at] for at in range(own, len(frames))])
    often = count >= _SURE
    return Ground(np.where(often[..., None], picture, beside), often | (more > 0))


def corrected(
    ground: Ground, frames: Sequence[Picture], bodies: Sequence[Body], alphas: Sequence[NDArray[np.float32]]
) -> Ground:
    """The ground without things that frames do not show beside their figures: a model may put a cloud behind a head.

    Where such a thing was, it is what the frames show there, or else what is around.

    Args:
        frames: those of actions, RGB (side, side, 3) each.
        bodies: where the figure is in each, at the enlarged size.
        alphas: how much of each pixel is the figure's, 0 to 1, at the enlarged size.

    Returns:
        The same ground if it has no such thing.
    """
    spread = _spread(len(frames))
    shown = [(cv2.dilate(alphas[at], disc(_CLEAR_PX)) == 0) & ~bodies[at].shadowed() for at in spread]
    own, count = _median([frames[at] for at in spread], shown)
    seen = count >= _SURE
    differs = seen & (largest(np.abs(own - ground.picture)) > _ALIKE)
    behind = np.any([body.possible() for body in bodies], axis=0)
    wrong = _not_there(ground, own, seen, differs, behind)
    if not wrong.any():
        return ground
    picture = np.where((wrong & differs)[..., None], own, ground.picture)
    around = cv2.inpaint(
        picture.round().clip(0, 255).astype(np.uint8), (wrong & ~differs).astype(np.uint8), _BLUR_PX, cv2.INPAINT_TELEA
    )
    picture = np.where((wrong & ~differs)[..., None], around, picture).astype(np.float32)
    return replace(ground, picture=picture)


def _not_there(ground: Ground, own: NDArray[np.float32], seen: Flags, differs: Flags, behind: Flags) -> Flags:
    """Things of the ground, each of one colour, that are elsewhere in most of what frames show of them."""
    other = (seen & ground.known & (ground.off(own) > _OTHER)).astype(np.uint8)
    many, numbers = cv2.connectedComponents(cv2.morphologyEx(other, cv2.MORPH_OPEN, disc(_SPECK_PX)))
    found = np.zeros(seen.shape, np.uint8)
    for number in range(1, many):
        there = (numbers == number) & behind
        if not there.any():
            continue
        colour = np.median(ground.picture[there], axis=0)
        alike = (behind & (largest(np.abs(ground.picture - colour)) < _ALIKE)) | there
        _, parts = cv2.connectedComponents(alike.astype(np.uint8))
        thing = np.isin(parts, np.unique(parts[there]))
        if differs[thing & seen].mean() > 0.5:
            found[thing] = 1
    wide: Flags = cv2.dilate(found, disc(_BLUR_PX)) > 0
    return wide


def _spread(count: int) -> NDArray[np.int_]:
    """Numbers of the frames that are looked at."""
    return np.unique(np.linspace(0, count - 1, min(_MOST, count)).round().astype(int))


def _median(frames: Sequence[Picture], shown: Sequence[NDArray[np.bool_]]) -> tuple[NDArray[np.float32], Counts]:
    """Of what frames show, and how many show it."""
    stack = [np.where(where[..., None], enlarged(frame), np.nan) for frame, where in zip(frames, shown, strict=True)]
    order = np.sort(np.array(stack, np.float32), axis=0)  # NaN comes last
    count = np.sum(shown, axis=0)
    middle = np.maximum(count - 1, 0) // 2
    found = np.take_along_axis(order, np.repeat(middle[None, ..., None], 3, axis=-1), axis=0)[0]
    return np.nan_to_num(found).astype(np.float32), count
