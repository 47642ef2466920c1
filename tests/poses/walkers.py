"""Bodies of known bone lengths that walk, for tests of what is done to poses over time."""

import math

import numpy as np

from masactrl_video.poses.pose import Person, Pose
from masactrl_video.poses.skeleton import BODY_BONES, BONE_NAMES

ADULT = dict(zip(BONE_NAMES, (40, 40, 60, 50, 60, 50, 110, 80, 80, 110, 80, 80, 60, 12, 14, 12, 14), strict=True))
CHILD = dict(zip(BONE_NAMES, (26, 26, 30, 28, 30, 28, 60, 40, 34, 60, 40, 34, 50, 16, 18, 16, 18), strict=True))

# degrees, 0 to the right of the picture, 90 down
_REST = (180, 0, 100, 95, 80, 85, 100, 92, 90, 80, 88, 90, 270, 225, 190, 315, 350)


def standing(
    lengths: dict[str, float], degrees: tuple[float, ...] = _REST, neck: tuple[float, float] = (256, 150)
) -> Person:
    """A body with its bones at these angles."""
    body = np.zeros((18, 3))
    body[1] = *neck, 1
    for (parent, child), length, angle in zip(BODY_BONES, lengths.values(), degrees, strict=True):
        turned = math.radians(angle)
        body[child] = body[parent] + [length * math.cos(turned), length * math.sin(turned), 0]
        body[child, 2] = 1
    return Person(body.astype(np.float32))


def walking(lengths: dict[str, float], frames: int, *, step_px: float = 4, left_px: float = 200) -> list[Pose]:
    """Arms and legs swing, the body goes to the right with the lower ankle on the ground, at y = 450 px."""
    poses = []
    for frame in range(frames):
        swing = 25 * math.sin(frame * 0.4)
        turned = np.array(_REST, float)
        for name, share in (("right-thigh", 1), ("right-shin", 1.4), ("left-thigh", -1), ("left-shin", -0.6)):
            turned[BONE_NAMES.index(name)] += share * swing
        for name, share in (("right-upper-arm", -1), ("right-forearm", -2), ("left-upper-arm", 1), ("left-forearm", 2)):
            turned[BONE_NAMES.index(name)] += share * swing
        person = standing(lengths, tuple(turned), (left_px + step_px * frame, 0))
        person.body[:, 1] += 450 - person.body[[10, 13], 1].max()
        poses.append(Pose((person,), 512, 512))
    return poses


def lengths_of(lengths: dict[str, float]) -> np.ndarray:
    return np.array(list(lengths.values()), np.float64)


def angles(points: np.ndarray) -> np.ndarray:
    """(frames, 17): direction of each bone in radians; NaN where an end is missing."""
    parents, children = np.array(BODY_BONES).T
    vectors = points[:, children, :2] - points[:, parents, :2]
    found = np.arctan2(vectors[..., 1], vectors[..., 0])
    found[(points[:, children, 2] <= 0) | (points[:, parents, 2] <= 0)] = np.nan
    return found


def apart_degrees(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Differences of two arrays of angles in radians, in degrees from 0 to 180."""
    return np.degrees(np.abs((first - second + np.pi) % (2 * np.pi) - np.pi))
