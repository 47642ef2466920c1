"""Which part of a picture belongs to which person, by their skeletons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from masactrl_video.poses.agreement import torso_px
from masactrl_video.poses.pose import LIMBS, Person, Pose

Floats = NDArray[np.float64]

REACH = 0.3
"""How far from a bone a body reaches, in lengths of the torso: clothes, and limbs that are wider than lines."""
HEAD_REACH = 0.8
"""The same from the middle of the head: ears and hats."""
INSIDE = 0.7
"""Part of the reach in which a body hides what is behind it."""
_HEAD = (0, 14, 15, 16, 17)
_ANKLES = (10, 13)
_TRUNK = ((2, 5), (8, 11), (2, 11), (5, 8))
"""Lines across a body, beside its limbs."""


def whose_points(pose: Pose, people: Sequence[int]) -> NDArray[np.uint8]:
    """Whose each pixel is: 0 for nobody, n for the n-th of `people`.

    Where bodies overlap, it is that of who stands in front, whose feet are lower in the picture; at that one's rim, and
    where feet are not seen, of whose bone is nearest.

    Args:
        pose: with people told apart (`track_people`).
        people: their places in it; who is not seen, or not there, has no pixel.

    Returns:
        (height, width) uint8.
    """
    grid = np.stack(np.meshgrid(np.arange(pose.width_px) + 0.5, np.arange(pose.height_px) + 0.5), axis=-1)
    shown = [pose.people[place] if place < len(pose.people) else None for place in people]
    away = np.stack([_away(person, grid) for person in shown])  # -> (people, height, width)
    nearest = away.argmin(axis=0)
    for place in np.argsort([_feet_px(person) for person in shown], kind="stable"):  # the one in front comes last
        nearest = np.where(away[place] <= INSIDE, place, nearest)
    return np.where(away.min(axis=0) <= 1, nearest + 1, 0).astype(np.uint8)


def as_picture(whose: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB (height, width, 3): red is the number itself, green and blue are for people to look at."""
    green, blue = np.where(whose % 2 == 1, 200, 60), np.where(whose % 2 == 0, 200, 60)
    shown = np.where(whose > 0, np.stack([green, blue]), 0).astype(np.uint8)
    return np.stack([whose, *shown], axis=2)


def _feet_px(person: Person | None) -> float:
    """How low the lower ankle is; above everything where none is seen."""
    if person is None:
        return -np.inf
    seen = [float(person.body[ankle, 1]) for ankle in _ANKLES if person.body[ankle, 2] > 0]
    return max(seen, default=-np.inf)


def _away(person: Person | None, grid: Floats) -> Floats:
    """How far each point is from a body, as a part of its reach; infinite where there is none."""
    away = np.full(grid.shape[:2], np.inf)
    if person is None or not person.visible:
        return away
    body = person.body.astype(np.float64)
    seen = body[:, 2] > 0
    size_px = size_of(person.body)
    for first, second in (*LIMBS, *_TRUNK):
        if seen[first] and seen[second]:
            away = np.minimum(away, distance_from_line(grid, body[first, :2], body[second, :2]) / (REACH * size_px))
    head = [place for place in _HEAD if seen[place]]
    if head:
        middle = body[head, :2].mean(axis=0)
        away = np.minimum(away, np.linalg.norm(grid - middle, axis=-1) / (HEAD_REACH * size_px))
    return away


def size_of(body: NDArray[np.float32]) -> float:
    """Length of the torso; without one, a third of what is seen of the body."""
    length = torso_px(body)
    points = body[body[:, 2] > 0, :2]
    return float(length) if length > 0 else max(1.0, float(np.hypot(*np.ptp(points, axis=0))) / 3)


def distance_from_line(grid: Floats, start: Floats, end: Floats) -> Floats:
    """Distance of each point from the line between two points."""
    way = end - start
    along = np.clip(((grid - start) @ way) / max(float(way @ way), 1e-9), 0, 1)
    distance: Floats = np.linalg.norm(grid - start - along[..., None] * way, axis=-1)
    return distance
