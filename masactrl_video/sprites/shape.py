"""How wide a figure is, from all its frames together: one alone cannot tell where figure and ground look alike.

Each pixel belongs to the bone that it is nearest to, at a place along and across it. What the frames show at such a
place is put together: its colour, and how much of it is the figure's. A frame counts as far as that colour differs from
the ground behind it there; where it does not, the other frames tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from masactrl_video.sprites.alpha import Matte, even_edge
from masactrl_video.sprites.body import Body
from masactrl_video.sprites.ground import Picture, disc, enlarged, largest
from masactrl_video.sprites.silhouette import DIM_LOW, Floats

Table = NDArray[np.float64]
"""(places, columns)"""

_STEP, _CELLS = 0.02, 220
"""Side of a cell in lengths of the trunk, and how many of them lie along each bone, and across."""
_BLUR_CELLS = 0.5
"""A place has a little of those beside it."""
_SEEN = 2
"""Pixels of the figure in a cell, from which on its colour is known."""
_ALIKE, _UNLIKE = 15, 75
"""Levels by which the colour of the figure differs from the ground where that tells nothing, and where all."""
_ALONE, _LEAST = 0.15, 0.05
"""How much nearer a bone is than the next one, in lengths of the trunk, where a pixel counts fully; and how much it
counts between two: at an arm that hangs down the body is seen, too."""
_TOLD = 0.5
"""Pixels that tell in a cell, from which on there is a mean."""
_SELDOM = 0.4
"""Where the mean is below that, alpha is bounded by it from above; by as much below 1, from below."""
_PART_PX, _RIM_PX = 7, 6
"""Half width of what one frame alone has and still keeps, such as hair that swings; and how far off it lies."""


@dataclass(frozen=True, eq=False)
class Places:
    """Where on the body each pixel of a frame is."""

    rows: NDArray[np.int32]
    """Of the tables: a bone, and a cell along and across it. (side, side)"""
    alone: Floats
    """How much a pixel counts there, up to 1: less where another bone is as near. (side, side)"""


def in_agreement(
    frames: Sequence[Picture], bodies: Sequence[Body], mattes: Sequence[Matte], views: Sequence[Sequence[int]]
) -> list[Matte]:
    """The mattes of a figure, each corrected by all those that show it from the same side.

    Args:
        frames: RGB (side, side, 3) each.
        bodies: where the figure is in each, at the enlarged size.
        mattes: what each frame alone says.
        views: numbers of the frames of each side; each frame is in one of them.
    """
    agreed = list(mattes)
    for view in views:
        own = _of_one_side(
            [frames[number] for number in view],
            [bodies[number] for number in view],
            [mattes[number] for number in view],
        )
        for number, matte in zip(view, own, strict=True):
            agreed[number] = matte
    return agreed


def _of_one_side(frames: list[Picture], bodies: list[Body], mattes: list[Matte]) -> list[Matte]:
    places = [_places(body) for body in bodies]
    seen = _sums(_seen(enlarged(frame), at, matte) for frame, at, matte in zip(frames, places, mattes, strict=True))
    colours = np.where(seen[:, 3:] > _SEEN, seen[:, :3] / np.maximum(seen[:, 3:], 1e-6), np.nan).astype(np.float32)
    told = _sums(_told(at, matte, colours) for at, matte in zip(places, mattes, strict=True))
    means = np.where(told[:, 1] > _TOLD, told[:, 0] / np.maximum(told[:, 1], 1e-6), np.nan).astype(np.float32)
    agreed = []
    for body, at, matte in zip(bodies, places, mattes, strict=True):
        tells = np.maximum(_tells(at, matte, colours), body.low(DIM_LOW))  # shadow and shoes differ from step to step
        agreed.append(replace(matte, alpha=_agreed(matte.alpha, tells, means[at.rows])))
    return agreed


def _seen(large: Picture, places: Places, matte: Matte) -> Table:
    """Sum of the figure's colours at each place, and how many pixels they are."""
    off = largest(cv2.absdiff(large, matte.behind))
    sure = (matte.alpha > 0.9) & (off > _ALIKE)
    counts = places.alone[sure]
    return _at(places.rows[sure], *(counts * large[sure].T), counts)


def _told(places: Places, matte: Matte, colours: Floats) -> Table:
    """Sum of alpha at each place, and of how much it counts."""
    counts = _tells(places, matte, colours) * places.alone
    return _at(places.rows.ravel(), (counts * matte.alpha).ravel(), counts.ravel())


def _tells(places: Places, matte: Matte, colours: Floats) -> Floats:
    """How well colours tell the figure from the ground behind it, 0 to 1; where none was seen they do. (side, side)"""
    off = largest(np.abs(colours[places.rows] - matte.behind))
    tells: Floats = np.nan_to_num(np.clip((off - _ALIKE) / (_UNLIKE - _ALIKE), 0, 1), nan=1).astype(np.float32)
    return tells


def _agreed(own: Floats, tells: Floats, mean: Floats) -> Floats:
    """Alpha of one frame where its colours tell or no other's do, else the figure as wide as in all."""
    usual = mean >= 0.5
    alpha = np.where(np.isnan(mean), own, tells * own + (1 - tells) * even_edge(usual))
    mean = np.where(np.isnan(mean), alpha, mean)
    bounded = np.clip(alpha, np.maximum(0, 1 - (1 - mean) / _SELDOM), np.minimum(1, mean / _SELDOM))
    near = disc(_RIM_PX)
    inner, outer = (way(usual.astype(np.uint8), near) > 0 for way in (cv2.erode, cv2.dilate))
    apart = (((alpha > 0.5) & ~outer) | ((alpha < 0.5) & inner)).astype(np.uint8)
    parts = cv2.dilate(cv2.morphologyEx(apart, cv2.MORPH_OPEN, disc(_PART_PX)), disc(_PART_PX + _RIM_PX)) > 0
    return _without_specks(np.where(parts, alpha, bounded).astype(np.float32))


def _without_specks(alpha: Floats) -> Floats:
    """Without what is small and hangs together with nothing."""
    _, numbers, about, _ = cv2.connectedComponentsWithStats((alpha > 0.1).astype(np.uint8))
    small = about[:, cv2.CC_STAT_AREA] < (2 * _PART_PX) ** 2
    return np.where(small[numbers], 0, alpha)


def _places(body: Body) -> Places:
    """Each pixel's bone, and where along and across it."""
    down, across = np.mgrid[: body.side_px, : body.side_px].astype(np.float32) + np.float32(0.5)
    nearest = second = np.full(down.shape, np.inf, np.float32)
    rows = np.zeros(down.shape, np.int32)
    trunk_px = max(body.trunk_px, 1.0)
    cell_px = _STEP * trunk_px
    for number, bone in enumerate(body.bones()):
        if bone is None:
            continue
        x, y = across - bone.start[0], down - bone.start[1]
        along, beside = x * bone.way[0] + y * bone.way[1], y * bone.way[0] - x * bone.way[1]
        away = np.hypot(along - np.clip(along, 0, bone.length_px), beside) - bone.flesh_px
        row, column = (
            np.clip(np.round(px / cell_px) + _CELLS // 2, 0, _CELLS - 1).astype(np.int32) for px in (along, beside)
        )
        rows = np.where(away < nearest, (number * _CELLS + row) * _CELLS + column, rows)
        second = np.minimum(second, np.maximum(nearest, away))
        nearest = np.minimum(nearest, away)
    alone = np.clip((second - nearest) / (_ALONE * trunk_px), _LEAST, 1)
    return Places(rows, alone.astype(np.float32))


def _at(rows: NDArray[np.int32], *values: NDArray[Any]) -> Table:
    """Sums of values at each place."""
    size = Body.BONES * _CELLS**2
    return np.stack([np.bincount(rows, column, size) for column in values], axis=1)


def _sums(tables: Iterable[Table]) -> Table:
    """Of tables, each place with a little of those beside it."""
    total = sum(tables, np.zeros(()))
    maps = total.reshape(Body.BONES, _CELLS, _CELLS, -1)
    return np.array([cv2.GaussianBlur(of_bone, (0, 0), _BLUR_CELLS) for of_bone in maps]).reshape(total.shape)
