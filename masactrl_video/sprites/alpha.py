"""The figure cut out of a frame: how much of each pixel it is, then colours without the ground in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from masactrl_video.sprites.body import Body, Flags
from masactrl_video.sprites.ground import Ground, Picture, corrected, disc, enlarged
from masactrl_video.sprites.silhouette import DIM_LOW, Floats, silhouette

Rgba = NDArray[np.uint8]
"""(height, width, 4); colours are not multiplied by alpha."""

_CORE_PX, _RIM_PX, _BLUR_PX = 4, 5, 5
"""Alpha is 1 so far inside of the figure and 0 so far outside; between, it follows the picture's own blur."""
_MIXED = 0.23
"""Share of a rim's contrast up to which a pixel is the ground's: a thin line that is blurred reaches too far."""
_REACH_PX, _DIRECTIONS = (2, 4, 6, 8), 16
"""Where about a pixel of the rim colours of the figure are looked for."""
_DEEP_PX, _RATHER, _MOSTLY = 2, 40, 0.6
"""How far inside of the figure they are its own; by how many levels one may explain a pixel worse than one of which the
pixel would be all; and from which share of one on a pixel counts as the figure's."""
_FAINT = 25
"""Levels of contrast below which the blur says nothing."""
_EDGE_PX = 4
"""How wide an edge is that does not follow the blur."""
_THIN, _SPAN_PX, _BEYOND = 0.3, 6, 30
"""Alpha from which a pixel's own colour counts, without its share of ground; and how many levels it may be beyond what
the figure has so near."""


@dataclass(frozen=True, eq=False)
class Matte:
    """How much of each pixel is the figure's, at the enlarged size."""

    alpha: Floats
    """0 to 1. (side, side)"""
    behind: Picture
    """The ground behind it, as bright as where it is seen beside. RGB (side, side, 3)"""


def mattes_of(
    pictures: Sequence[Picture],
    bodies: Sequence[Body],
    ground: Ground,
    hint: Callable[[int], Flags | None] = lambda number: None,
    counted: Callable[[range], Iterable[int]] = iter,
) -> list[Matte]:
    """The mattes of all frames; what they do not show of the ground goes from it, and then they are made again.

    Args:
        pictures: RGB (side, side, 3) each.
        bodies: where the figure is in each, at the enlarged size.
        hint: of a frame's number, as for `matte_of`.
        counted: shows progress.
    """

    def made(ground: Ground) -> list[Matte]:
        return [
            matte_of(pictures[number], bodies[number], ground, hint(number)) for number in counted(range(len(pictures)))
        ]

    first = made(ground)
    better = corrected(ground, pictures, bodies, [matte.alpha for matte in first])
    return first if better is ground else made(better)


def matte_of(picture: Picture, body: Body, ground: Ground, hint: Flags | None = None) -> Matte:
    """The matte of a frame, from nothing but that frame.

    Args:
        picture: RGB (side, side, 3).
        body: where the figure is, at the enlarged size.
        hint: where attention has found it, at the enlarged size: then it may be there too.
    """
    large = enlarged(picture)
    possible = body.possible() if hint is None else body.possible() | hint
    return _matte(large, silhouette(large, body, ground, possible), ground, body)


def cut_out(picture: Picture, matte: Matte) -> Rgba:
    """The figure of a frame.

    Args:
        picture: RGB (side, side, 3).

    Returns:
        RGBA at the enlarged size. The colours of a narrow rim are without their share of the ground.
    """
    alpha = np.round(255 * matte.alpha).astype(np.uint8)[..., None]
    return np.concatenate([_colours(enlarged(picture), matte.alpha, matte.behind), alpha], axis=2)


def _matte(large: Picture, inside: Flags, known: Ground, body: Body) -> Matte:
    """Alpha in the rim is how far a pixel is on the way from the ground behind it to the figure beside it.

    Before the shadow about the feet that says little, for outlines are as dark; nor does it in what is like the ground
    where the figure is thick. There the edge is as wide as elsewhere.
    """
    mask = inside.astype(np.uint8)
    core, outer = cv2.erode(mask, disc(_CORE_PX)), cv2.dilate(mask, disc(_RIM_PX))
    nearest = _nearest(1 - outer)
    ground = large.reshape(-1, 3)[nearest].astype(np.float32)
    moved = ground - known.picture.reshape(-1, 3)[nearest] + known.picture
    ground = np.where((known.known & known.known.ravel()[nearest])[..., None], moved, ground)
    off = np.linalg.norm(large - ground, axis=2)
    most = cv2.dilate(np.where(inside, off, 0), disc(_BLUR_PX))
    blurred = np.clip((off / np.maximum(most, 1) - _MIXED) / (1 - _MIXED), 0, 1)
    blurred = np.maximum(blurred, _as_mixed(large, inside, ground, (outer > 0) & (core == 0)))
    alpha = np.where(most < _FAINT, mask, blurred)
    alpha = np.where(core > 0, 1, np.where(outer > 0, alpha, 0))
    even = even_edge(inside)
    alpha = np.where(inside & body.likely(), np.maximum(alpha, even), alpha)
    alpha = np.where(body.low(DIM_LOW), even, alpha).astype(np.float32)
    return Matte(alpha, np.asarray(ground.round().clip(0, 255), np.uint8))


def _as_mixed(large: Picture, inside: Flags, ground: Floats, rim: Flags) -> Floats:
    """Alpha by the colour of the figure that explains a pixel best as its mix with the ground; 0 off the rim.

    A dark outline may differ less from a tree behind it than a shirt does, and is no mix of both. Colours are sampled
    close by, as in Robust Matting (Wang and Cohen 2007). Of those that explain a pixel alike, the one that is farthest
    from the ground counts, for others are mixes themselves.
    """
    values, at, behind = large.astype(np.float32), np.argwhere(rim), ground[rim]
    moved = values[rim] - behind
    deep = cv2.erode(inside.astype(np.uint8), disc(_DEEP_PX)) > 0
    least, share = np.full(len(at), np.inf, np.float32), np.zeros(len(at), np.float32)
    for radius in _REACH_PX:
        for angle in np.linspace(0, 2 * np.pi, _DIRECTIONS, endpoint=False):
            way = np.round(radius * np.array([np.sin(angle), np.cos(angle)])).astype(int)
            rows, columns = np.clip(at + way, 0, len(values) - 1).T
            full = values[rows, columns] - behind
            square = np.maximum((full**2).sum(axis=1), 1)
            part = np.clip((moved * full).sum(axis=1) / square, 0, 1)
            cost = np.linalg.norm(moved - part[:, None] * full, axis=1) + _RATHER * part
            better = deep[rows, columns] & (cost < least)
            least[better] = cost[better]
            share[better] = np.where(square[better] < _FAINT**2, 0, part[better])
    alpha = np.zeros(rim.shape, np.float32)
    alpha[rim] = np.clip((share - _MOSTLY) / (1 - _MOSTLY), 0, 1)
    return alpha


def even_edge(inside: Flags) -> Floats:
    """Alpha of a silhouette whose edge is as wide everywhere. (side, side)"""
    mask = inside.astype(np.uint8)
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    return np.asarray(np.clip(cv2.GaussianBlur(depth, (0, 0), 1.5) / _EDGE_PX + 0.5, 0, 1), np.float32)


def _colours(large: Picture, alpha: Floats, behind: Picture) -> Picture:
    """The figure's own colours, with nothing of the ground in them. RGB (side, side, 3)

    A pixel of the rim is the figure's by alpha, and the ground's by the rest, which is taken off. What is left may not
    be far beyond the colours beside it; where alpha is too small to tell, it is the nearest of them.
    """
    values, own = large.astype(np.float32), (alpha > 0.95).astype(np.uint8)
    near = values.reshape(-1, 3)[_nearest(own)]
    darkest = cv2.erode(np.where(own[..., None] > 0, values, 999), disc(_SPAN_PX))
    lightest = cv2.dilate(np.where(own[..., None] > 0, values, -999), disc(_SPAN_PX))
    lowest = np.where(darkest < 999, darkest - _BEYOND, near)
    highest = np.where(lightest > -999, lightest + _BEYOND, near)
    part = alpha[..., None]
    unmixed = np.clip((values - (1 - part) * behind) / np.maximum(part, _THIN), lowest, highest)
    return np.asarray(np.where(part > _THIN, unmixed, near).round().clip(0, 255), np.uint8)


def _nearest(core: NDArray[np.uint8]) -> NDArray[np.intp]:
    """For each pixel the flat index of the nearest one of the core."""
    if not core.any():
        return np.arange(core.size).reshape(core.shape)
    _, labels = cv2.distanceTransformWithLabels(1 - core, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    of_label = np.zeros(labels.max() + 1, np.intp)
    where = core.ravel() > 0
    of_label[labels.ravel()[where]] = np.flatnonzero(where)
    nearest: NDArray[np.intp] = of_label[labels]
    return nearest
