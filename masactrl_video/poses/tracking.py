"""Several people told apart over time, and one of them chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError, any_of, counted
from masactrl_video.poses.pose import BODY_POINTS, Person, Pose

Floats = NDArray[np.float64]

FARTHEST = 1.0
"""From one sighting to the next a person moves by less than their own size: the diagonal of their bounding box."""


@dataclass(frozen=True, eq=False)
class _Outline:
    """What of a person is compared."""

    points: Floats
    """(21, 2): the body's points and the centres of face and hands; NaN where missing"""
    sides_px: Floats
    """(2,): width and height of everything that is seen"""

    @classmethod
    def of(cls, person: Person) -> _Outline:
        seen = {name: points[points[:, 2] > 0, :2].astype(np.float64) for name, points in person.parts().items()}
        rows = [np.where(person.body[:, 2:] > 0, person.body[:, :2], np.nan).astype(np.float64)]
        for name in ("face", "left_hand", "right_hand"):
            found = seen.get(name, np.zeros((0, 2)))
            rows.append(found.mean(axis=0)[None] if len(found) else np.full((1, 2), np.nan))
        everything = np.concatenate(list(seen.values()))
        return cls(np.concatenate(rows), np.ptp(everything, axis=0))


@dataclass(frozen=True, eq=False)
class _Trail:
    """Where a person was last seen, and how fast they went."""

    outline: _Outline
    velocity_px: Floats
    frame: int

    def distance(self, outline: _Outline, frame: int) -> float:
        """Mean distance of the points that both have, or of the centres where they share none, in units of their size.

        Uniform motion is expected for one frame; who was out of sight longer is looked for where they were last.
        """
        expected = self.outline.points + (self.velocity_px if frame == self.frame + 1 else 0)
        size_px = max(float(np.hypot(*sides)) for sides in (self.outline.sides_px, outline.sides_px))
        both = _common(expected, outline.points)
        if both.any():
            apart_px = np.linalg.norm(expected[both] - outline.points[both], axis=1).mean()
        else:
            apart_px = np.linalg.norm(np.nanmean(expected, axis=0) - np.nanmean(outline.points, axis=0))
        return float(apart_px) / max(size_px, 1.0)

    def moved_to(self, outline: _Outline, frame: int) -> _Trail:
        """The trail with one more sighting."""
        both = _common(self.outline.points, outline.points)
        way_px = (outline.points - self.outline.points)[both].mean(axis=0) if both.any() else np.zeros(2)
        return _Trail(outline, way_px / (frame - self.frame), frame)


def track_people(poses: Sequence[Pose]) -> list[Pose]:
    """The same people, in lists whose i-th entry is the same person in every frame.

    From frame to frame people are assigned so that the sum of their mean distances, in units of their size, is
    smallest (the Hungarian method). Nobody is assigned over more than FARTHEST: then it is a new person. They are
    numbered by appearance, within a frame as in its list. Where a person is not seen, an empty Person stands.
    """
    trails: list[_Trail] = []
    frames: list[dict[int, Person]] = []
    for frame, pose in enumerate(poses):
        visible = [person for person in pose.people if person.visible]
        numbers = _assign(trails, [_Outline.of(person) for person in visible], frame)
        frames.append(dict(zip(numbers, visible, strict=True)))
    return [
        Pose(tuple(people.get(i, ABSENT) for i in range(len(trails))), pose.width_px, pose.height_px)
        for pose, people in zip(poses, frames, strict=True)
    ]


def choose_person(tracked: Sequence[Pose], choice: str) -> list[Pose]:
    """One person of `track_people`'s answer: "0", "1", …, or "largest": the largest bounding boxes over the clip.

    Frames that do not show them have no people. Raises UserError when there is no such person.
    """
    count = max((len(pose.people) for pose in tracked), default=0)
    if not count:
        raise UserError(f"person: got {choice}, but nobody is in {any_of(len(tracked), 'frame')}")
    if choice == "largest":
        number = int(np.argmax([sum(_area_px(pose.people[i]) for pose in tracked) for i in range(count)]))
    elif (number := int(choice)) >= count:
        people = counted(count, "person", "people")
        raise UserError(f"person: got {choice}; {people} told apart in these frames, numbered from 0 to {count - 1}")
    chosen = [pose.people[number] for pose in tracked]
    return [
        Pose((person,) if person.visible else (), pose.width_px, pose.height_px)
        for pose, person in zip(tracked, chosen, strict=True)
    ]


def _assign(trails: list[_Trail], outlines: list[_Outline], frame: int) -> list[int]:
    """The number of each person of a frame; trails are brought up to date, new ones added."""
    costs = np.array([[trail.distance(outline, frame) for outline in outlines] for trail in trails])
    costs = costs.reshape(len(trails), len(outlines))  # also where there are none
    numbers = {column: row for row, column in _nearest_pairs(costs) if costs[row, column] < FARTHEST}
    for column, outline in enumerate(outlines):
        if column in numbers:
            trails[numbers[column]] = trails[numbers[column]].moved_to(outline, frame)
        else:
            numbers[column] = len(trails)
            trails.append(_Trail(outline, np.zeros(2), frame))
    return [numbers[column] for column in range(len(outlines))]


def _nearest_pairs(costs: Floats) -> list[tuple[int, int]]:
    """(row, column) of the assignment that costs least all together; costs from FARTHEST on are not allowed."""
    if min(costs.shape) <= 1:  # one person: no need of scipy, which takes half a second to load
        return [divmod(int(costs.argmin()), costs.shape[1])] if costs.size else []
    from scipy.optimize import linear_sum_assignment

    forbidden = FARTHEST * (costs.shape[1] + 1)  # dearer than any allowed assignment of all the others
    rows, columns = linear_sum_assignment(np.where(costs < FARTHEST, costs, forbidden))
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _common(first: Floats, second: Floats) -> NDArray[np.bool_]:
    both: NDArray[np.bool_] = ~np.isnan(first[:, 0]) & ~np.isnan(second[:, 0])
    return both


def _area_px(person: Person) -> float:
    return float(np.prod(_Outline.of(person).sides_px)) if person.visible else 0.0


ABSENT = Person(np.zeros((BODY_POINTS, 3), np.float32))
"""Stands for a person in frames that do not show them, so that people keep their places in the list."""


@dataclass(frozen=True, eq=False)
class Track:
    """One person in every frame: each array float64 (frames, points, 3) of x_px, y_px, confidence (0: missing)."""

    parts: dict[str, Floats]
    """`body`, and where any frame has them `face`, `left_hand`, `right_hand`, as in Person."""

    def map(self, change: Callable[[Floats], Floats]) -> Track:
        """The same change for every part."""
        return Track({name: change(points) for name, points in self.parts.items()})

    def person(self, frame: int) -> Person:
        """The person of one frame; a hand or face without any point is left out."""
        shown = {name: points[frame].astype(np.float32) for name, points in self.parts.items()}
        kept = {name: points for name, points in shown.items() if name == "body" or (points[:, 2] > 0).any()}
        return Person(**kept)


def tracks_of(poses: Sequence[Pose]) -> list[Track]:
    """A track for each place in the lists of people, which must name the same person everywhere (`track_people`).

    A face of 68 points gets two missing pupils where other frames have 70.
    """
    count = max((len(pose.people) for pose in poses), default=0)
    return [_track([pose.people[i] if i < len(pose.people) else ABSENT for pose in poses]) for i in range(count)]


def poses_of(tracks: Sequence[Track], like: Sequence[Pose]) -> list[Pose]:
    """The poses that the tracks make on the canvases of `like`, one for each of its frames."""
    return [
        Pose(tuple(track.person(frame) for track in tracks), pose.width_px, pose.height_px)
        for frame, pose in enumerate(like)
    ]


def _track(people: Sequence[Person]) -> Track:
    parts: dict[str, Floats] = {}
    for name in ("body", "face", "left_hand", "right_hand"):
        given = [person.parts().get(name) for person in people]
        points = max((len(array) for array in given if array is not None), default=0)
        if not points:
            continue
        parts[name] = np.zeros((len(people), points, 3))  # -> (frames, points, 3)
        for frame, array in enumerate(given):
            if array is not None:
                parts[name][frame, : len(array)] = array
    return Track(parts)
