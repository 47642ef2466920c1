"""The figure cut out of a frame: a graph cut between body and ground, then colours without the ground in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from masactrl_video.sprites.body import Body, Flags
from masactrl_video.sprites.ground import Ground, Picture, corrected, disc, enlarged, largest

Floats = NDArray[np.float32]
Rgba = NDArray[np.uint8]
"""(height, width, 4); colours are not multiplied by alpha."""

_SAME, _ALIKE = 12, 30
"""Levels by which a pixel may differ from the ground and certainly, or probably, be ground."""
_SHADE = (0.3, 1.05)
"""A shadow is the ground, so many times as bright."""
_SHADE_OFF, _LIGHT = 50, 40
"""Levels by which it may differ from that, and by which no channel may be above the ground's: shadows add no light."""
_SHADE_LOW, DIM_LOW = 0.12, 0.3
"""From how far above the ankles on it is sought, in lengths of the trunk, and it may make outlines hard to see."""
_ROUNDS = 3
_THICK_PX = 4
"""Half width of what is the figure's although its colour is found in the ground elsewhere."""
_OUTLINE_PX, _OUTLINE_OFF = 7, 45
"""How far outside of what the graph cut takes a line may lie that belongs to the figure, and how unlike the ground."""
_LINE_PX = 4
"""How wide a line is that lies before a shadow, which is as dark."""
_LEAST_GAP = 12
"""Pixels of ground, shut in by the figure, from which on they are seen through: between legs, under an arm."""
_COLOURS, _SELDOM = 10, 0.02
"""How many colours the body is taken to have, and the share of it below which one of them is none."""
_BITE_PX = 14
"""Half width of a bite out of the figure that is filled where the figure is thick."""
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
    inside = _figure(large, body, ground, possible)
    whole = _without_gaps(large, _with_outline(large, inside, body, ground), body, ground)
    return _matte(large, whole, ground, body)


def cut_out(picture: Picture, matte: Matte) -> Rgba:
    """The figure of a frame.

    Args:
        picture: RGB (side, side, 3).

    Returns:
        RGBA at the enlarged size. The colours of a narrow rim are without their share of the ground.
    """
    alpha = np.round(255 * matte.alpha).astype(np.uint8)[..., None]
    return np.concatenate([_colours(enlarged(picture), matte.alpha, matte.behind), alpha], axis=2)


def _figure(large: Picture, body: Body, ground: Ground, possible: Flags) -> Flags:
    """Pixels of the figure: a graph cut from what body and ground say.

    By colours alone a white bobble before the sky is taken for a cloud that is elsewhere. So a second cut sees how
    pixels differ from the ground right behind them, and what is thick in it stays. Low down the shadow differs, too.
    """
    values = large.astype(np.float32)
    off = ground.off(values)
    labels = np.full(off.shape, cv2.GC_PR_FGD, np.uint8)
    labels[ground.known & (off < _ALIKE)] = cv2.GC_PR_BGD
    likely = body.likely()
    labels[ground.known & (off < _SAME) & ~likely] = cv2.GC_BGD
    labels[_shadow(values, body, ground)] = cv2.GC_BGD
    certain = body.certain()
    labels[ground.known & (off > _ALIKE) & likely] = cv2.GC_FGD
    labels[~possible], labels[certain] = cv2.GC_BGD, cv2.GC_FGD
    inside = _graph_cut(large, labels)
    differs = _graph_cut(ground.difference(values), labels) & (off > _ALIKE) & ~inside & ~body.low(DIM_LOW)
    more = cv2.morphologyEx(differs.astype(np.uint8), cv2.MORPH_OPEN, disc(_THICK_PX)) > 0
    return _whole(inside | more, certain)


def _graph_cut(picture: Picture, labels: NDArray[np.uint8]) -> Flags:
    """Pixels of the figure by GrabCut (Rother et al. 2004). labels: OpenCV's, (side, side)"""
    cv2.setRNGSeed(0)  # k-means in it draws numbers
    found = labels.copy()
    cv2.grabCut(picture, found, None, np.zeros((1, 65)), np.zeros((1, 65)), _ROUNDS, cv2.GC_INIT_WITH_MASK)
    return np.asarray((found == cv2.GC_FGD) | (found == cv2.GC_PR_FGD), np.bool_)


def _shadow(values: NDArray[np.float32], body: Body, ground: Ground) -> Flags:
    """Where about the feet the ground is only darker."""
    shade = (values * ground.picture).sum(axis=2) / np.maximum((ground.picture**2).sum(axis=2), 1)
    off = largest(np.abs(values - shade[..., None] * ground.picture))
    lighter = largest(values - ground.picture)
    alike = (shade > _SHADE[0]) & (shade < _SHADE[1]) & (off < _SHADE_OFF) & (lighter < _LIGHT)
    found: Flags = ground.known & body.low(_SHADE_LOW) & alike & ~body.feet()
    return found


def _whole(inside: Flags, certain: Flags) -> Flags:
    """Without specks: thin threads go, and what does not hang together with the body."""
    opened = cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_OPEN, disc(2))
    _, numbers = cv2.connectedComponents(opened, connectivity=4)
    kept = np.unique(numbers[certain & (opened > 0)])
    found: Flags = np.isin(numbers, kept[kept > 0])
    return found


def _with_outline(large: Picture, inside: Flags, body: Body, ground: Ground) -> Flags:
    """The figure with the dark line around it, before which the cut often stops: fill and line differ most."""
    values = large.astype(np.float32)
    off = ground.off(values)
    near = cv2.dilate(inside.astype(np.uint8), disc(_OUTLINE_PX)) > 0
    beside = cv2.dilate(inside.astype(np.uint8), disc(_LINE_PX)) > 0
    alike = _shadow(values, body, ground) & ~beside
    line = (near | body.feet()) & ground.known & (off > _OUTLINE_OFF) & ~alike
    whole = cv2.morphologyEx((inside | line).astype(np.uint8), cv2.MORPH_OPEN, disc(1))
    found: Flags = cv2.morphologyEx(whole, cv2.MORPH_CLOSE, disc(1)) > 0
    return found


def _without_gaps(large: Picture, inside: Flags, body: Body, ground: Ground) -> Flags:
    """The figure without the ground that it shuts in: the cut takes a light gap for the white of an eye.

    What is nearer to a colour of the body than to the ground stays, such as white hands before snow.
    """
    values = large.astype(np.float32)
    off = ground.off(values)
    apart = ground.known & (off < _OUTLINE_OFF) & ~body.likely() & inside
    from_ground = np.linalg.norm(values[apart] - ground.picture[apart], axis=1)
    apart[apart] = from_ground <= _from_body(values[apart], values[body.certain() & inside])
    opened = cv2.morphologyEx(apart.astype(np.uint8), cv2.MORPH_OPEN, disc(1))
    many, numbers = cv2.connectedComponents(opened, connectivity=4)
    gaps = np.bincount(numbers[off < _ALIKE], minlength=many) >= _LEAST_GAP
    gaps[0] = False
    return _filled(_whole(inside & ~gaps[numbers], body.certain()), body.likely())


def _from_body(values: Floats, body: Floats) -> Floats:
    """How far pixels (count, 3) are from the nearest colour of the body's own pixels (other count, 3). (count,)"""
    if len(body) < _COLOURS:
        return np.full(len(values), np.inf, np.float32)
    cv2.setRNGSeed(0)  # k-means draws numbers
    ends = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
    _, labels, means = cv2.kmeans(body, _COLOURS, np.empty(0), ends, 1, cv2.KMEANS_PP_CENTERS)
    often = np.bincount(labels.ravel(), minlength=_COLOURS) >= _SELDOM * len(labels)
    return np.asarray(np.min([np.linalg.norm(values - mean, axis=1) for mean in means[often]], axis=0), np.float32)


def _filled(inside: Flags, likely: Flags) -> Flags:
    """The figure without holes and bites where it is thick: an eye, a stripe or a sleeve may look like the ground."""
    inside = inside | ((cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_CLOSE, disc(_BITE_PX)) > 0) & likely)
    _, numbers = cv2.connectedComponents((~inside).astype(np.uint8), connectivity=4)
    found: Flags = inside | ~np.isin(numbers, numbers[~inside & ~likely])
    return found


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
