"""The figure cut out of a frame: a graph cut between body and ground, then colours without the ground in them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from masactrl_video.sprites.body import Body, Flags
from masactrl_video.sprites.ground import Ground, Picture, enlarged

Rgba = NDArray[np.uint8]
"""(height, width, 4); colours are not multiplied by alpha."""

_SAME, _ALIKE = 12, 30
"""Levels by which a pixel may differ from the ground and certainly, or probably, be ground."""
_SHADE = (0.3, 1.05)
"""A shadow is the ground, so many times as bright."""
_SHADE_OFF, _LIGHT = 50, 40
"""Levels by which it may differ from that, and by which no channel may be above the ground's: shadows add no light."""
_ROUNDS = 3
_OUTLINE_PX, _OUTLINE_OFF = 7, 45
"""How far outside of what the graph cut takes a line may lie that belongs to the figure, and how unlike the ground."""
_CORE_PX, _RIM_PX, _BLUR_PX = 4, 3, 3
"""Alpha is 1 so far inside of the figure and 0 so far outside; between, it follows the picture's own blur."""
_FAINT = 25
"""Levels of contrast below which the blur says nothing."""


def cut_out(picture: Picture, body: Body, ground: Ground, hint: Flags | None = None) -> Rgba:
    """The figure of a frame.

    Args:
        picture: RGB (side, side, 3).
        body: where the figure is, at the enlarged size.
        hint: where attention has found it, at the enlarged size: then it may be there too.

    Returns:
        RGBA at the enlarged size. The colours of a narrow rim are those of the figure beside it.
    """
    large = enlarged(picture)
    possible = body.possible() if hint is None else body.possible() | hint
    inside = _figure(large, body, ground, possible)
    return _soft(large, _with_outline(large, inside, body, ground))


def _figure(large: Picture, body: Body, ground: Ground, possible: Flags) -> Flags:
    """Pixels of the figure: GrabCut from what body and ground say (Rother et al. 2004)."""
    values = large.astype(np.float32)
    off = np.abs(values - ground.picture).max(axis=2)
    labels = np.full(off.shape, cv2.GC_PR_FGD, np.uint8)
    labels[ground.known & (off < _ALIKE)] = cv2.GC_PR_BGD
    labels[ground.known & (off < _SAME)] = cv2.GC_BGD
    labels[_shadow(values, body, ground)] = cv2.GC_BGD
    certain = body.certain()
    labels[~possible], labels[certain] = cv2.GC_BGD, cv2.GC_FGD
    cv2.setRNGSeed(0)  # k-means in it draws numbers
    cv2.grabCut(large, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), _ROUNDS, cv2.GC_INIT_WITH_MASK)
    return _whole((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD), certain)


def _shadow(values: NDArray[np.float32], body: Body, ground: Ground) -> Flags:
    """Where about the feet the ground is only darker."""
    shade = (values * ground.picture).sum(axis=2) / np.maximum((ground.picture**2).sum(axis=2), 1)
    off = np.abs(values - shade[..., None] * ground.picture).max(axis=2)
    low = np.arange(len(values))[:, None] > body.lowest_px - 0.12 * body.trunk_px
    lighter = (values - ground.picture).max(axis=2)
    alike = (shade > _SHADE[0]) & (shade < _SHADE[1]) & (off < _SHADE_OFF) & (lighter < _LIGHT)
    found: Flags = ground.known & low & alike & ~body.feet()
    return found


def _whole(inside: Flags, certain: Flags) -> Flags:
    """Without specks: thin threads go, and what does not hang together with the body."""
    opened = cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_OPEN, _disc(2))
    _, numbers = cv2.connectedComponents(opened, connectivity=4)
    kept = np.unique(numbers[certain & (opened > 0)])
    found: Flags = np.isin(numbers, kept[kept > 0])
    return found


def _with_outline(large: Picture, inside: Flags, body: Body, ground: Ground) -> Flags:
    """The figure with the dark line around it, before which the cut often stops: fill and line differ most."""
    values = large.astype(np.float32)
    off = np.abs(values - ground.picture).max(axis=2)
    near = cv2.dilate(inside.astype(np.uint8), _disc(_OUTLINE_PX)) > 0
    line = near & ground.known & (off > _OUTLINE_OFF) & ~_shadow(values, body, ground)
    whole = cv2.morphologyEx((inside | line).astype(np.uint8), cv2.MORPH_OPEN, _disc(1))
    found: Flags = cv2.morphologyEx(whole, cv2.MORPH_CLOSE, _disc(1)) > 0
    return found


def _soft(large: Picture, inside: Flags) -> Rgba:
    """Alpha in the rim is how far a pixel is on the way from the ground beside it to the figure beside it.

    Colours in the rim are those of the nearest pixel that is the figure's alone, so nothing of the ground shines.
    """
    mask = inside.astype(np.uint8)
    core, outer = cv2.erode(mask, _disc(_CORE_PX)), cv2.dilate(mask, _disc(_RIM_PX))
    ground = large.reshape(-1, 3)[_nearest(1 - outer)].astype(np.float32)
    off = np.linalg.norm(large - ground, axis=2)
    most = cv2.dilate(np.where(outer > 0, off, 0), _disc(_BLUR_PX))
    alpha = np.where(most < _FAINT, mask, np.clip((off / np.maximum(most, 1) - 0.1) / 0.8, 0, 1))
    alpha = np.where(core > 0, 1, np.where(outer > 0, alpha, 0))
    own = ((alpha > 0.95) & (outer > 0)).astype(np.uint8)
    colours = large.reshape(-1, 3)[_nearest(own)]
    return np.concatenate([colours, np.round(255 * alpha).astype(np.uint8)[..., None]], axis=2)


def _disc(radius_px: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1,) * 2), np.uint8)


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
