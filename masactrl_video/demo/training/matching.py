"""Which cell of one drawn picture shows what a cell of another one shows: known, because the keypoints are."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from masactrl_video.demo.world.poses import (
    L_ANKLE,
    L_ELBOW,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    NECK,
    NOSE,
    R_ANKLE,
    R_ELBOW,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
)

Floats = NDArray[np.float32]

_GROUND = -1
_HIPS, _CROWN = 18, 19
"""Points that are added to the 18 keypoints: between the hips, and above the nose."""


class _Part(NamedTuple):
    """A part of the body, around the line between two points."""

    start: int
    end: int
    radius: float
    """In lengths of the torso."""


_PARTS = (
    _Part(NECK, _CROWN, 0.45),
    _Part(R_ELBOW, R_WRIST, 0.17),
    _Part(L_ELBOW, L_WRIST, 0.17),
    _Part(_HIPS, NECK, 0.46),
    _Part(R_SHOULDER, R_ELBOW, 0.2),
    _Part(L_SHOULDER, L_ELBOW, 0.2),
    _Part(R_HIP, R_KNEE, 0.22),
    _Part(L_HIP, L_KNEE, 0.22),
    _Part(R_KNEE, R_ANKLE, 0.2),
    _Part(L_KNEE, L_ANKLE, 0.2),
)
"""From the one in front of all others to the one behind them."""
_SPREAD = 0.6
"""Deviation of a match, in cells."""
_MATCHED = 0.1
"""A cell with less than this similarity to every other one has no match: the other picture hides what it shows."""


def coverage(masks: NDArray[np.uint8], side: int) -> Floats:
    """Part of each cell that the character covers, of masks (pictures, height, width): (pictures, side * side)."""
    pictures, height, width = masks.shape
    cells = masks.reshape(pictures, side, height // side, side, width // side)
    covered: Floats = cells.mean(axis=(2, 4), dtype=np.float32).reshape(pictures, -1)
    return covered


def matches(first: Floats, second: Floats, masks: tuple[NDArray[np.uint8], NDArray[np.uint8]], side: int) -> Floats:
    """What attention from the second pictures to the first ones should be, where it is known.

    A cell of the character matches the cells at the same place of the same part of the body, one of the ground those
    at the same place of the picture.

    Args:
        first, second: keypoints in pixels. (pictures, 18, 2)
        masks: 1 on the character, of the first and of the second pictures. (pictures, height, width)
        side: cells in a row and in a column.

    Returns:
        (pictures, cells of the second, cells of the first), each row summing to 1, or to 0 where nothing matches.
    """
    cell_px = masks[0].shape[1] / side
    (first_part, first_at), (second_part, second_at) = (
        _places(points, mask, side) for points, mask in zip((first, second), masks, strict=True)
    )
    distance = np.square(second_at[:, :, None] - first_at[:, None]).sum(axis=-1)
    similar = np.exp(-distance / (2 * (_SPREAD * cell_px) ** 2)) * (second_part[:, :, None] == first_part[:, None])
    known = similar.max(axis=-1, keepdims=True) >= _MATCHED
    return np.where(known, similar / np.maximum(similar.sum(axis=-1, keepdims=True), 1e-6), 0).astype(np.float32)


def moved(first: Floats, second: Floats, masks: NDArray[np.uint8], side: int) -> Floats:
    """Where what the cells of the first pictures show is in the second ones.

    Cells of the character go with the part of the body that they show, which may turn and grow; those of the ground
    stay.

    Args:
        first, second: keypoints in pixels. (pictures, 18, 2)
        masks: 1 on the character, of the first pictures. (pictures, height, width)
        side: cells in a row and in a column.

    Returns:
        Row and column in cells, with fractions, of (pictures, cells, 2).
    """
    cell_px = masks.shape[1] / side
    part, places = _places(first, masks, side)
    (_, _, _, before_px), (start, along, _, torso_px) = _bones(first), _bones(second)
    on = np.maximum(part, 0)[..., None]
    start, along = (np.take_along_axis(points, on, axis=1) for points in (start, along))
    places = places * np.where(part == _GROUND, 1, (torso_px / np.maximum(before_px, 1e-3))[:, None])[..., None]
    down, aside = places[..., :1], places[..., 1:]
    # `aside` is measured to the right of the direction: x * along_y - y * along_x.
    across = np.stack([along[..., 1], -along[..., 0]], axis=-1)
    middles = np.where(part[..., None] == _GROUND, places, start + down * along + aside * across)
    cells: Floats = (middles[..., ::-1] / cell_px - 0.5).astype(np.float32)
    return cells


def _places(keypoints: Floats, masks: NDArray[np.uint8], side: int) -> tuple[NDArray[np.int64], Floats]:
    """The part of each cell, and where on that part its middle lies, in pixels. (pictures, cells), (…, 2)"""
    cell_px = masks.shape[1] / side
    rows, columns = np.indices((side, side), dtype=np.float32).reshape(2, -1)
    middles = (np.stack([columns, rows], axis=-1) + 0.5) * cell_px  # -> (cells, 2)
    start, along, length, torso_px = _bones(keypoints)
    from_start = middles[None, :, None] - start[:, None]  # -> (pictures, cells, parts, 2)
    down = (from_start * along[:, None]).sum(axis=-1)
    aside = from_start[..., 0] * along[:, None, :, 1] - from_start[..., 1] * along[:, None, :, 0]
    past = down - np.clip(down, 0, length[:, None])
    radius = np.array([part.radius for part in _PARTS]) * torso_px[:, None]
    reach = np.hypot(past, aside) / radius[:, None]
    # A point within several parts belongs to the one in front, one within none of them to the nearest.
    part = np.where(reach < 1, np.arange(len(_PARTS)) / len(_PARTS), reach).argmin(axis=-1)
    places = np.stack([np.take_along_axis(axis, part[..., None], axis=-1)[..., 0] for axis in (down, aside)], axis=-1)
    figure = coverage(masks, side) >= 0.5
    return np.where(figure, part, _GROUND), np.where(figure[..., None], places, middles).astype(np.float32)


def _bones(keypoints: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Start, direction (pictures, parts, 2) and length (pictures, parts) of each part, and the torso's length."""
    hips = keypoints[:, [R_HIP, L_HIP]].mean(axis=1)
    crown = keypoints[:, NOSE] + 0.5 * (keypoints[:, NOSE] - keypoints[:, NECK])
    points = np.concatenate([keypoints, hips[:, None], crown[:, None]], axis=1)
    torso_px = np.linalg.norm(points[:, NECK] - points[:, _HIPS], axis=-1)
    start = points[:, [part.start for part in _PARTS]]  # -> (pictures, parts, 2)
    end = points[:, [part.end for part in _PARTS]]
    length = np.maximum(np.linalg.norm(end - start, axis=-1, keepdims=True), 1e-3)
    return start, (end - start) / length, length[..., 0], torso_px
