"""Frames in which nobody was found, and poses for them from their neighbours."""

from bisect import bisect
from collections.abc import Sequence

import numpy as np

from masactrl_video.errors import UserError, any_of
from masactrl_video.guidance.pose import Keypoints, Person, Pose


def missing_frames(poses: Sequence[Pose]) -> list[int]:
    """Indices of the frames without a person."""
    return [index for index, pose in enumerate(poses) if not pose.has_person]


def fill_missing(poses: Sequence[Pose]) -> list[Pose]:
    """The same poses, with one person in each frame that had nobody; frames with a person are left as they are.

    Each keypoint of the first person is interpolated linearly between the nearest frames with a person before and
    after the gap; where only one of the two has it, the nearer frame decides. At the ends the nearest person is taken.
    Raises UserError when no frame has a person.
    """
    known = [index for index, pose in enumerate(poses) if pose.has_person]
    if not known:
        raise UserError(f"no person in {any_of(len(poses), 'frame')}: missing poses cannot be filled from neighbours")
    return [pose if pose.has_person else _filled(poses, index, known) for index, pose in enumerate(poses)]


def _filled(poses: Sequence[Pose], index: int, known: list[int]) -> Pose:
    place = bisect(known, index)
    before, after = known[max(place - 1, 0)], known[min(place, len(known) - 1)]
    weight = (index - before) / (after - before) if before != after else 0.0
    person = _between(_first_visible(poses[before]), _first_visible(poses[after]), weight)
    return Pose((person,), poses[index].width_px, poses[index].height_px)


def _first_visible(pose: Pose) -> Person:
    return next(person for person in pose.people if person.visible)


def _between(before: Person, after: Person, weight: float) -> Person:
    """weight 0 is the person before, 1 the person after."""
    nearer = before if weight <= 0.5 else after
    parts = nearer.parts()
    for name in before.parts().keys() & after.parts().keys():
        first, last = before.parts()[name], after.parts()[name]
        if len(first) == len(last):  # a face may have 68 points in one frame and 70 in the next
            parts[name] = _between_points(first, last, parts[name], weight)
    return Person(**parts)


def _between_points(first: Keypoints, last: Keypoints, nearer: Keypoints, weight: float) -> Keypoints:
    in_both = (first[:, 2] > 0) & (last[:, 2] > 0)
    mixed = (1 - weight) * first + weight * last
    return np.where(in_both[:, None], mixed, nearer).astype(np.float32)
