"""Which pixels of a frame are the figure's: a graph cut between body and ground, with outlines and without gaps."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from masactrl_video.sprites.body import Body, Flags
from masactrl_video.sprites.ground import Ground, Picture, disc, largest

Floats = NDArray[np.float32]

_SAME, _ALIKE = 12, 30
"""Levels by which a pixel may differ from the ground and certainly, or probably, be ground."""
_SHADE = (0.3, 1.05)
"""A shadow is the ground, so many times as bright."""
_SHADE_OFF, _LIGHT = 50, 40
"""Levels by which it may differ from that, and by which no channel may be above the ground's: shadows add no light."""
_NEARER = 0.4
"""What is less than so many times as far from a colour of the body as from the darker ground is a leg. Less by much,
because outlines of the body are as dark as shadows."""
_SHADE_LOW, DIM_LOW = 0.12, 0.3
"""From how far above the ankles on it is sought, in lengths of the trunk, and it may make outlines hard to see."""
_ROUNDS = 3
_THICK_PX = 4
"""Half width of what is the figure's although its colour is found in the ground elsewhere."""
_OUTLINE_PX, _OUTLINE_OFF = 7, 45
"""How far outside of what the graph cut takes a line may lie that belongs to the figure, and how unlike the ground."""
_LINE_PX = 4
"""How wide a line is that lies before a shadow, which is as dark."""
_DARKER = 10
"""Levels by which the outline of a leg is darker than its shadow."""
_LEAST_GAP = 12
"""Pixels of ground, shut in by the figure, from which on they are seen through: between legs, under an arm."""
_COLOURS, _SELDOM = 10, 0.02
"""How many colours the body is taken to have, and the share of it below which one of them is none."""
_BITE_PX = 14
"""Half width of a bite out of the figure that is filled where the figure is thick."""


def silhouette(large: Picture, body: Body, ground: Ground, possible: Flags) -> Flags:
    """The figure's pixels, from nothing but one frame. (side, side)

    Args:
        large: RGB (side, side, 3), enlarged.
        body: where the figure is, at that size.
        possible: where it may be, with all it may wear. (side, side)
    """
    values = large.astype(np.float32)
    unlike = _from_body(values, body)
    shadow = _shadow(values, body, ground, unlike)
    inside = _figure(large, body, ground, possible, shadow)
    return _without_gaps(values, _with_outline(values, inside, body, ground, shadow), body, ground, unlike)


def _figure(large: Picture, body: Body, ground: Ground, possible: Flags, shadow: Flags) -> Flags:
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
    labels[shadow] = cv2.GC_BGD
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


def _shadow(values: Floats, body: Body, ground: Ground, unlike: Floats) -> Flags:
    """Where about the feet the ground is only darker; what is much nearer to a colour of the body is a leg."""
    shade = (values * ground.picture).sum(axis=2) / np.maximum((ground.picture**2).sum(axis=2), 1)
    apart = values - shade[..., None] * ground.picture
    off = largest(np.abs(apart))
    lighter = largest(values - ground.picture)
    alike = (shade > _SHADE[0]) & (shade < _SHADE[1]) & (off < _SHADE_OFF) & (lighter < _LIGHT)
    alike &= unlike >= _NEARER * np.linalg.norm(apart, axis=2)
    found: Flags = ground.known & body.low(_SHADE_LOW) & alike & ~body.feet()
    return found


def _whole(inside: Flags, certain: Flags) -> Flags:
    """Without specks: thin threads go, and what does not hang together with the body."""
    opened = cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_OPEN, disc(2))
    _, numbers = cv2.connectedComponents(opened, connectivity=4)
    kept = np.unique(numbers[certain & (opened > 0)])
    found: Flags = np.isin(numbers, kept[kept > 0])
    return found


def _with_outline(values: Floats, inside: Flags, body: Body, ground: Ground, shadow: Flags) -> Flags:
    """The figure with the dark line around it, before which the cut often stops: fill and line differ most."""
    near, beside = (cv2.dilate(inside.astype(np.uint8), disc(px)) > 0 for px in (_OUTLINE_PX, _LINE_PX))
    line = (near | body.feet()) & ground.known & (ground.off(values) > _OUTLINE_OFF) & (beside | ~shadow)
    found = _with_sides_of_legs(values, inside | line, body, shadow)
    for way in (cv2.MORPH_OPEN, cv2.MORPH_CLOSE):
        found = cv2.morphologyEx(found.astype(np.uint8), way, disc(1)) > 0
    return found


def _with_sides_of_legs(values: Floats, inside: Flags, body: Body, shadow: Flags) -> Flags:
    """The figure with what is darker than both leg and shadow, between the two.

    Darker than something on the left and on the right, not above and below: under soles shadows are as thin as lines.
    """
    dark = cv2.morphologyEx(values.mean(axis=2), cv2.MORPH_BLACKHAT, _across(_OUTLINE_PX)) > _DARKER
    sides = dark & shadow & (cv2.dilate(body.likely().astype(np.uint8), disc(_OUTLINE_PX)) > 0)
    closed = cv2.morphologyEx((inside | sides).astype(np.uint8), cv2.MORPH_CLOSE, _across(_LINE_PX)) > 0
    found: Flags = inside | (closed & shadow)
    return found


def _across(half_px: int) -> NDArray[np.uint8]:
    """A kernel of one row."""
    return np.ones((1, 2 * half_px + 1), np.uint8)


def _without_gaps(values: Floats, inside: Flags, body: Body, ground: Ground, unlike: Floats) -> Flags:
    """The figure without the ground that it shuts in: the cut takes a light gap for the white of an eye.

    What is nearer to a colour of the body than to the ground stays, such as white hands before snow.
    """
    off = ground.off(values)
    apart = ground.known & (off < _OUTLINE_OFF) & ~body.likely() & inside
    apart &= np.linalg.norm(values - ground.picture, axis=2) <= unlike
    opened = cv2.morphologyEx(apart.astype(np.uint8), cv2.MORPH_OPEN, disc(1))
    many, numbers = cv2.connectedComponents(opened, connectivity=4)
    gaps = np.bincount(numbers[off < _ALIKE], minlength=many) >= _LEAST_GAP
    gaps[0] = False
    return _filled(_whole(inside & ~gaps[numbers], body.certain()), body.likely())


def _from_body(values: Floats, body: Body) -> Floats:
    """How far each pixel is from the nearest colour that the body has along its bones. (side, side)

    Near the head it is one of the head: between ears, what has the colour of the shirt is sky.
    """
    head, rest = body.parts()
    to_head, to_rest = (cv2.distanceTransform(1 - part.astype(np.uint8), cv2.DIST_L2, 5) for part in (head, rest))
    return np.where(to_head < to_rest, _from_colours(values, values[head]), _from_colours(values, values[rest]))


def _from_colours(values: Floats, own: Floats) -> Floats:
    """How far pixels (side, side, 3) are from the nearest colour that others (count, 3) often have. (side, side)"""
    if len(own) < _COLOURS:
        return np.full(values.shape[:2], np.inf, np.float32)
    cv2.setRNGSeed(0)  # k-means draws numbers
    ends = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
    _, labels, means = cv2.kmeans(own, _COLOURS, np.empty(0), ends, 1, cv2.KMEANS_PP_CENTERS)
    often = np.bincount(labels.ravel(), minlength=_COLOURS) >= _SELDOM * len(labels)
    return np.asarray(np.min([np.linalg.norm(values - mean, axis=2) for mean in means[often]], axis=0), np.float32)


def _filled(inside: Flags, likely: Flags) -> Flags:
    """The figure without holes and bites where it is thick: an eye, a stripe or a sleeve may look like the ground."""
    inside = inside | ((cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_CLOSE, disc(_BITE_PX)) > 0) & likely)
    _, numbers = cv2.connectedComponents((~inside).astype(np.uint8), connectivity=4)
    found: Flags = inside | ~np.isin(numbers, numbers[~inside & ~likely])
    return found
