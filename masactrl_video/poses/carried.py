"""Noise that follows a body: which point of a source's noise each point of a frame's starts from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from masactrl_video.poses.pose import Person, Pose
from masactrl_video.poses.whose import HEAD_REACH, REACH, distance_from_line, size_of

Floats = NDArray[np.float64]

_LIMBS = ((2, 3), (3, 4), (5, 6), (6, 7), (8, 9), (9, 10), (11, 12), (12, 13))
_TRUNK = ((2, 5), (8, 11))
"""Shoulders, and hips: a trunk goes from the middle of the one to the middle of the other."""
_EARS = (16, 17)
_MOST = 2**12
"""Rows and columns that a picture of places can name."""


def carried_places(source: Pose, frame: Pose, grid: tuple[int, int]) -> NDArray[np.int64]:
    """The point of the source's noise from which each point of a frame's starts.

    Bodies are rigid parts: head, trunk, and both halves of each limb. A point within the reach of one starts from where
    it lay in the source, when that part is turned and moved back, to the nearest point of the grid; all others stay. It
    is a permutation, so that the noise has the same numbers, and is as independent as before: where two points want
    the same one, the one nearer to its bone has it; who gets none keeps the own, or one of those left over, in order.

    Args:
        source, frame: people told apart, each at the same place in both.
        grid: height and width of the latents.

    Returns:
        (height x width,) numbers of points, row by row; what does not move keeps its number.
    """
    height, width = grid
    cell = np.array([frame.width_px / width, frame.height_px / height])
    points = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1).reshape(-1, 2) * cell
    away, wanted = np.full(len(points), np.inf), points.copy()
    for before, now in zip(source.people, frame.people, strict=False):
        if before.visible and now.visible:
            _carry(points, away, wanted, before, now)
    back = np.floor(wanted / cell).astype(np.int64)  # x, y
    inside = (away <= 1) & (back >= 0).all(axis=1) & (back[:, 0] < width) & (back[:, 1] < height)
    return _permutation(back[:, 1] * width + back[:, 0], inside, away)


def _carry(points: Floats, away: Floats, wanted: Floats, before: Person, now: Person) -> None:
    """Say where the points of one person come from, where its bones are nearer than those of anybody before."""
    reach_px = REACH * size_of(now.body)
    for start, end, own_reach_px in _parts(now, reach_px):
        old = _ends(before, start, end)
        new = _ends(now, start, end)
        if old is None or new is None:
            continue
        distance = distance_from_line(points, *new) / own_reach_px
        nearer = distance < away
        away[nearer] = distance[nearer]
        wanted[nearer] = _moved_back(points[nearer], old, new)


def _parts(person: Person, reach_px: float) -> list[tuple[tuple[int, ...], tuple[int, ...], float]]:
    """Rigid parts: the points whose middle is one end, those of the other end, and how far it reaches."""
    limbs = [((first,), (second,), reach_px) for first, second in _LIMBS]
    head_px = reach_px * HEAD_REACH / REACH
    return [(_TRUNK[0], _TRUNK[1], 1.5 * reach_px), *limbs, ((_EARS[0],), (_EARS[1],), head_px)]


def _ends(person: Person, start: Sequence[int], end: Sequence[int]) -> tuple[Floats, Floats] | None:
    body = person.body.astype(np.float64)
    if not (body[[*start, *end], 2] > 0).all():
        return None
    return body[list(start), :2].mean(axis=0), body[list(end), :2].mean(axis=0)


def _moved_back(points: Floats, old: tuple[Floats, Floats], new: tuple[Floats, Floats]) -> Floats:
    """Points beside a bone, where they were when the bone lay elsewhere; lengths stay."""
    if all(np.array_equal(one, other) for one, other in zip(old, new, strict=True)):
        return points
    angles = [np.arctan2(*(end - start)[::-1]) for start, end in (old, new)]
    turn = angles[0] - angles[1]
    cosine, sine = np.cos(turn), np.sin(turn)
    middles = [(start + end) / 2 for start, end in (old, new)]
    turned: Floats = (points - middles[1]) @ np.array([[cosine, sine], [-sine, cosine]]) + middles[0]
    return turned


def _permutation(wanted: NDArray[np.int64], inside: NDArray[np.bool_], away: Floats) -> NDArray[np.int64]:
    count = len(wanted)
    places, free = np.full(count, -1, np.int64), np.ones(count, bool)
    for point in np.argsort(away, kind="stable"):
        if inside[point] and free[wanted[point]]:
            places[point] = wanted[point]
            free[wanted[point]] = False
    stay = np.flatnonzero((places < 0) & free)
    places[stay], free[stay] = stay, False
    places[places < 0] = np.flatnonzero(free)
    return places


def places_picture(places: NDArray[np.int64], grid: tuple[int, int], size_px: tuple[int, int]) -> NDArray[np.uint8]:
    """Places as RGB (height, width, 3) of a frame's size: row and column of each, in bytes; blue has what is above.

    Raises:
        ValueError: a grid that is too large.
    """
    if max(grid) > _MOST:
        raise ValueError(f"latents of {grid[0]}x{grid[1]} are too large; at most {_MOST} rows and columns")
    rows, columns = np.divmod(places.reshape(grid), grid[1])
    picture = np.stack([rows % 256, columns % 256, rows // 256 * 16 + columns // 256], axis=2).astype(np.uint8)
    down, across = (np.arange(side) * cells // side for side, cells in zip(size_px, grid, strict=True))
    return picture[down][:, across]


def read_places(picture: NDArray[np.uint8], grid: tuple[int, int]) -> NDArray[np.int64]:
    """The places that `places_picture` has drawn."""
    starts = [-(-np.arange(cells) * side // cells) for side, cells in zip(picture.shape, grid, strict=False)]
    red, green, blue = (picture[starts[0]][:, starts[1], channel].astype(np.int64) for channel in range(3))
    found: NDArray[np.int64] = ((blue // 16 * 256 + red) * grid[1] + blue % 16 * 256 + green).reshape(-1)
    return found
