"""One person through time, as arrays that filters work on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masactrl_video.guidance.pose import BODY_POINTS, Person, Pose

Floats = NDArray[np.float64]

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
