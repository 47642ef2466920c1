"""Where a picture of one pose shows what a picture of another shows: limb by limb, because both skeletons are known.

What lies on a limb goes with it: it is turned as the limb turns, grows along it as the limb does, and across it as the
whole person does. What lies on nobody stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from masactrl_video.poses.pose import BODY_NAMES, Pose
from masactrl_video.poses.skeleton import HIPS, NECK, NOSE
from masactrl_video.poses.tracking import track_people

Floats = NDArray[np.float64]
Point = tuple[float, float, float]
"""x_px, y_px, confidence; 0: missing."""
Body = tuple[Point, ...]
"""The 18 points of `poses.pose`."""
NOBODY: Body = ((0.0, 0.0, 0.0),) * len(BODY_NAMES)
"""Who is not there, but has a number."""


@dataclass(frozen=True)
class Skeleton:
    """The bodies of one picture; equal ones are equal, and it goes through JSON."""

    width_px: int
    height_px: int
    people: tuple[Body, ...]

    @classmethod
    def of(cls, pose: Pose) -> Skeleton:
        """The bodies of a pose, in its order."""
        people = tuple(tuple((float(x), float(y), float(c)) for x, y, c in person.body) for person in pose.people)
        return cls(pose.width_px, pose.height_px, people)

    @classmethod
    def of_one(cls, pose: Pose, number: int) -> Skeleton:
        """The first body of a pose alone, as the person of this number in other pictures."""
        own = cls.of(pose)
        return replace(own, people=(*[NOBODY] * number, *own.people[:1]))

    def shows(self, number: int) -> bool:
        """Whether a person has a limb here that can be followed."""
        return number < len(self.people) and bool(_known(_points(self.people[number])).any())


@dataclass(frozen=True)
class Skeletons:
    """Those of sources and of the frames that follow them: the same place in a list of people is the same person."""

    sources: tuple[Skeleton, ...]
    frames: tuple[Skeleton, ...]

    def unfollowed(self) -> list[int]:
        """Frames in which a person of a source is missing: there that person's keys stay where they are."""
        wanted = {n for source in self.sources for n in range(len(source.people)) if source.shows(n)}
        return [frame for frame, own in enumerate(self.frames) if not all(own.shows(person) for person in wanted)]


class _Part(NamedTuple):
    """A part of the body around the line between two points."""

    start: int
    end: int
    radius: float
    """In lengths of the torso."""
    beyond: float
    """How far it goes on behind its end, in its own lengths: a hand, a foot, the upper half of a head."""


_HIPS = len(BODY_NAMES)
"""Number of a point that is added: between the hips."""
_AT = BODY_NAMES.index
_PARTS = (
    _Part(_HIPS, NECK, 0.4, 0.0),
    _Part(NECK, NOSE, 0.45, 1.0),
    *(
        part
        for side in ("right", "left")
        for part in (
            _Part(_AT(f"{side} shoulder"), _AT(f"{side} elbow"), 0.2, 0.0),
            _Part(_AT(f"{side} elbow"), _AT(f"{side} wrist"), 0.2, 0.4),
            _Part(_AT(f"{side} hip"), _AT(f"{side} knee"), 0.25, 0.0),
            _Part(_AT(f"{side} knee"), _AT(f"{side} ankle"), 0.2, 0.15),
        )
    ),
)
_STARTS, _ENDS = (np.array([getattr(part, name) for part in _PARTS]) for name in ("start", "end"))
_RADII, _BEYOND = (np.array([getattr(part, name) for part in _PARTS]) for name in ("radius", "beyond"))
_TORSO_OF_LIMBS = 1.8
"""Length of a torso in those of a limb, where no torso is seen."""
_SHORTEST_PX = 1.0
"""A limb that is drawn shorter in the source points at the camera: it has no direction that others could follow."""
_FINEST = 4
"""Decimals of a place, in tokens: what is less is rounding."""


def moves(source: Skeleton, frame: Skeleton) -> bool:
    """Whether anybody of the source is elsewhere in a frame."""
    pairs = zip(source.people, frame.people, strict=False)
    return any(_moves(_points(own), _points(other)) for own, other in pairs)


def _moves(before: Floats, after: Floats) -> bool:
    both = _known(before) & _known(after)
    ends = np.unique([_STARTS[both], _ENDS[both]])
    return not np.array_equal(before[ends, :2], after[ends, :2])


def moved_places(source: Skeleton, frame: Skeleton, grid: tuple[int, int]) -> Floats:
    """Where in a frame the tokens of a source are.

    A token within reach of several limbs goes with the nearest one, measured in the limbs' own breadth. Where a limb,
    or a whole person, is known in one of the two only, its tokens go with the nearest one of the others, or stay.

    Args:
        grid: height and width of the source's tokens; those of a frame on another canvas are as large.

    Returns:
        (tokens, 2): row and column of each, with fractions, 0 for the middle of the first. It may lie outside.
    """
    rows, columns = np.indices(grid, dtype=np.float64).reshape(2, -1)
    cell_px = np.array([source.width_px / grid[1], source.height_px / grid[0]])
    middles = (np.stack([columns, rows], axis=-1) + 0.5) * cell_px  # -> (tokens, 2)
    shift_px, nearest = np.zeros_like(middles), np.ones(len(middles))
    for own, other in zip(source.people, frame.people, strict=False):
        before, after = _points(own), _points(other)
        both = _known(before) & _known(after)
        if both.any():
            reach, shift = _followed(middles, before, after, both)
            closer = reach < nearest
            nearest[closer], shift_px[closer] = reach[closer], shift[closer]
    shift = (shift_px / cell_px).round(_FINEST)
    return np.stack([rows + shift[:, 1], columns + shift[:, 0]], axis=-1)


def _followed(middles: Floats, before: Floats, after: Floats, both: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """How far each point is from the person, in the breadths of the nearest limb, and how far that limb takes it.

    Args:
        middles: (points, 2) px.
        before, after: the person's points in both pictures, (19, 3).
        both: (parts,) which are known in both.

    Returns:
        (points,), below 1 on the person, and (points, 2) px.
    """
    (start, along, length), (to_start, to_along, to_length) = (_limbs(points) for points in (before, after))
    torso_px, to_torso_px = _torso(before, both), _torso(after, both)
    from_start = middles[:, None] - start  # -> (points, parts, 2)
    down = (from_start * along).sum(axis=-1)
    aside = from_start[..., 0] * along[:, 1] - from_start[..., 1] * along[:, 0]
    past = down - np.clip(down, 0, length * (1 + _BEYOND))
    reach = np.where(both, np.hypot(past, aside) / (_RADII * torso_px), np.inf)
    part = reach.argmin(axis=-1)
    grown, wider = (to_length / length)[part, None], to_torso_px / torso_px
    # differences of what is equal are 0 to the bit: nothing moves where the limb does not
    reach, down, aside = (np.take_along_axis(values, part[:, None], 1) for values in (reach, down, aside))
    shift = (to_start - start)[part] + down * (grown * to_along[part] - along[part])
    shift = shift + aside * (wider * _across(to_along)[part] - _across(along)[part])
    return reach[:, 0], shift


def _points(body: Body) -> Floats:
    """(19, 3): the body's points and the one between the hips."""
    points = np.array(body, np.float64).reshape(len(BODY_NAMES), 3)
    between = points[HIPS].mean(axis=0)
    between[2] = points[HIPS, 2].min()
    return np.concatenate([points, between[None]])


def _limbs(points: Floats) -> tuple[Floats, Floats, Floats]:
    """Start and direction (parts, 2), and length in px (parts,), of each part; one without a length points down."""
    start = points[_STARTS, :2]
    vector = points[_ENDS, :2] - start
    length = np.linalg.norm(vector, axis=-1)
    is_short = length < _SHORTEST_PX
    along = np.where(is_short[:, None], [0.0, 1.0], vector / np.where(is_short, 1, length)[:, None])
    return start, along, np.maximum(length, _SHORTEST_PX)


def _known(points: Floats) -> NDArray[np.bool_]:
    """(parts,): whether both ends of a part are there, apart from each other."""
    there = (points[_STARTS, 2] > 0) & (points[_ENDS, 2] > 0)
    apart = np.linalg.norm(points[_ENDS, :2] - points[_STARTS, :2], axis=-1) >= _SHORTEST_PX
    known: NDArray[np.bool_] = there & apart
    return known


def _torso(points: Floats, both: NDArray[np.bool_]) -> float:
    """Length of a person's torso in px, or what stands for it, by what is known of it in two pictures."""
    lengths = _limbs(points)[2]
    return float(lengths[0] if both[0] else np.median(lengths[both]) * _TORSO_OF_LIMBS)


def _across(along: Floats) -> Floats:
    """(…, 2): to the right of a direction."""
    return np.stack([along[..., 1], -along[..., 0]], axis=-1)


def told_apart(poses: Sequence[Pose], outside: Sequence[Pose] = ()) -> tuple[list[Skeleton], list[Skeleton]]:
    """Skeletons of a clip's frames, and of pictures that are no frames of it, with the same person at the same place.

    People are followed from frame to frame; where there is one in each at most, it is the same. Those of a picture
    outside are, from left to right, the people of the clip in the order in which they stand where they first appear.
    """
    several = any(sum(person.visible for person in pose.people) > 1 for pose in poses)
    alone = [replace(pose, people=tuple(person for person in pose.people if person.visible)) for pose in poses]
    tracked = [Skeleton.of(pose) for pose in (track_people(poses) if several else alone)]
    first: dict[int, tuple[int, float]] = {}
    for frame, skeleton in enumerate(tracked):
        for person in range(len(skeleton.people)):
            if person not in first and skeleton.shows(person):
                first[person] = (frame, _middle_px(skeleton.people[person]))
    order = sorted(first, key=lambda person: first[person])
    return tracked, [_in_order(Skeleton.of(pose), order) for pose in outside]


def _in_order(skeleton: Skeleton, order: Sequence[int]) -> Skeleton:
    """People from left to right, put at these places; those that are too many are left out."""
    seen = sorted((body for n, body in enumerate(skeleton.people) if skeleton.shows(n)), key=_middle_px)
    places = dict(zip(order, seen, strict=False))
    people = tuple(places.get(n, NOBODY) for n in range(max(places, default=-1) + 1))
    return Skeleton(skeleton.width_px, skeleton.height_px, people)


def _middle_px(body: Body) -> float:
    """Where a person stands, from the left."""
    seen = [x for x, _, confidence in body if confidence > 0]
    return sum(seen) / len(seen) if seen else 0.0
