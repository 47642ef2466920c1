"""Poses as angles of a skeleton, actions as cycles of poses, and the 18 COCO keypoints that follow from them."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Keypoints = NDArray[np.float64]

# fmt: off
(NOSE, NECK, R_SHOULDER, R_ELBOW, R_WRIST, L_SHOULDER, L_ELBOW, L_WRIST, R_HIP, R_KNEE, R_ANKLE, L_HIP, L_KNEE, L_ANKLE,
 R_EYE, L_EYE, R_EAR, L_EAR) = range(18)
# fmt: on

# Degrees from straight down, positive towards the picture's right. The character faces us: its right is on our left.
# right upper arm and forearm, left upper arm and forearm, right thigh and shin, left thigh and shin, lean, nod
_STAND = (-18, -10, 18, 10, -5, -3, 5, 3, 0, 0)
_ACTIONS: dict[str, tuple[tuple[float, ...], ...]] = {
    "standing": (_STAND, (-24, -16, 24, 16, -7, -4, 7, 4, 0, 3)),
    "waving": ((-20, -10, 115, 150, -6, -4, 6, 4, -3, -6), (-20, -10, 125, 205, -6, -4, 6, 4, -3, -2)),
    "cheering": ((-140, -160, 140, 160, -14, -8, 14, 8, 0, 0), (-120, -185, 120, 185, -8, -10, 8, 10, 0, 0)),
    "walking": (
        (-38, -20, 30, 55, -24, -28, 22, 4, 4, 2),
        (-16, 0, 16, 28, -2, -12, 4, 2, 3, 0),
        (22, 50, -22, 5, 22, 4, -24, -28, 4, 2),
        (-16, 0, 16, 28, 4, 2, -2, -12, 3, 0),
    ),
    "running": (
        (-62, 25, 40, 125, -32, -85, 48, -5, 11, 4),
        (-30, 50, 30, 100, 5, -50, 10, -4, 10, 2),
        (35, 125, -55, 30, 48, -5, -32, -85, 11, 4),
        (-30, 50, 30, 100, 10, -4, 5, -50, 10, 2),
    ),
    "kicking": ((-50, -70, 40, 60, -6, -2, 32, 8, -3, 0), (-70, -85, 60, 85, -10, -4, 72, 78, -9, -6)),
    "sitting": ((-30, -25, 30, 25, -62, -74, 62, 74, 0, 0), (-38, -5, 38, 5, -58, -80, 58, 80, 0, 5)),
    "dancing": (
        (-55, 48, 130, 165, -8, -4, 28, -8, -9, -10),
        (-80, -120, 80, 120, -18, 4, 18, -4, 0, 0),
        (-130, -165, 55, -48, -28, 8, 8, 4, 9, 10),
        (-80, -120, 80, 120, -18, 4, 18, -4, 0, 0),
    ),
}

# In heights of the figure.
_HEAD, _NECK, _SHOULDER, _HIP = 0.165, 0.29, 0.105, 0.062
_UPPER_ARM, _FOREARM, _THIGH, _SHIN = 0.145, 0.135, 0.18, 0.175
_FACE = {NOSE: (0.0, 0.012), R_EYE: (-0.05, -0.03), L_EYE: (0.05, -0.03), R_EAR: (-0.115, 0.0), L_EAR: (0.115, 0.0)}
FOOT = 0.045
"""From an ankle down to the ground."""


@dataclass(frozen=True)
class Pose:
    """How a figure holds itself and where it stands."""

    degrees: tuple[float, ...]
    """Angles of the limbs, the spine and the head, as in the table above."""
    x: float
    """Where the figure stands, in picture heights from the left."""
    ground: float
    """Where its lowest foot stands, in picture heights from the top."""
    height: float
    """Height of the standing figure in picture heights."""

    def keypoints(self) -> Keypoints:
        """The 18 COCO keypoints (x, y) in picture heights. (18, 2)"""
        points = _skeleton(self.degrees)
        lowest = max(points[R_ANKLE, 1], points[L_ANKLE, 1], 0.06) + FOOT
        return points * self.height + (self.x, self.ground - lowest * self.height)


class Posture(Protocol):
    """What drawing needs of a pose."""

    @property
    def height(self) -> float:
        """Height of the standing figure in picture heights."""

    def keypoints(self) -> Keypoints:
        """The 18 COCO keypoints (x, y) in picture heights. (18, 2)"""


@dataclass(frozen=True, eq=False)
class GivenPose:
    """A pose whose keypoints are given, not its angles."""

    points: Keypoints
    """(x, y) in picture heights. (18, 2)"""
    height: float
    """Height of the standing figure in picture heights."""

    def keypoints(self) -> Keypoints:
        """The points."""
        return self.points


def pose_from(points: Keypoints, within: float = 0.25) -> GivenPose | None:
    """The pose of given keypoints; None where no figure of the world has such a body.

    Args:
        points: the 18 COCO keypoints (x, y) in picture heights. (18, 2)
        within: how far each bone's length may be from the world's, as a part of that.
    """
    own, given = (_lengths(of) for of in (_skeleton((0.0,) * 10), points))
    height = float(given.sum() / own.sum())
    if height <= 0 or np.abs(given / (height * own) - 1).max() > within:
        return None
    return GivenPose(points, height)


def _lengths(points: Keypoints) -> Keypoints:
    """Lengths of the bones that all figures share: the spine, the shoulders, and both parts of each limb."""
    hips = (points[R_HIP] + points[L_HIP]) / 2
    pairs = [(first + at, first + at + 1) for first in (R_SHOULDER, L_SHOULDER, R_HIP, L_HIP) for at in (0, 1)]
    ends = [(points[NECK], hips), *((points[first], points[second]) for first, second in pairs)]
    ends.append((points[R_SHOULDER], points[L_SHOULDER]))
    return np.array([np.linalg.norm(first - second) for first, second in ends])


def pose_of(action: str, phase: float, *, x: float, ground: float, height: float) -> Pose:
    """The pose at a phase of an action's cycle, in [0, 1): 0 and 1 are the same pose."""
    cycle = np.array(_ACTIONS[action], np.float64)
    position = (phase % 1.0) * len(cycle)
    index = int(position)
    weight = (1 - np.cos(np.pi * (position - index))) / 2
    degrees = cycle[index] * (1 - weight) + cycle[(index + 1) % len(cycle)] * weight
    return Pose(tuple(degrees.tolist()), x, ground, height)


def mirrored(pose: Pose) -> Pose:
    """The same pose with left and right exchanged, standing at the same place."""
    right_arm, left_arm, right_leg, left_leg, spine = (pose.degrees[at : at + 2] for at in range(0, 10, 2))
    swapped = (*left_arm, *right_arm, *left_leg, *right_leg, *spine)
    return replace(pose, degrees=tuple(-angle for angle in swapped))


def jittered(pose: Pose, random: np.random.Generator, degrees: float = 6.0) -> Pose:
    """The same pose with every angle moved a little."""
    noise = random.normal(0, degrees, len(pose.degrees)) * ((1.0,) * 8 + (0.5, 0.5))
    return replace(pose, degrees=tuple((np.array(pose.degrees) + noise).tolist()))


def random_pose(action: str, random: np.random.Generator, width: float) -> Pose:
    """A pose of an action at a random phase, place and height, in a picture that is ``width`` heights wide."""
    height = random.uniform(0.7, 0.8)
    margin = min(0.36, 0.46 * width)
    pose = pose_of(
        action,
        random.uniform(),
        x=random.uniform(margin, width - margin),
        ground=random.uniform(0.91, 0.96),
        height=height,
    )
    return jittered(mirrored(pose) if random.uniform() < 0.5 else pose, random)


def _skeleton(degrees: tuple[float, ...]) -> Keypoints:
    """Keypoints in heights of the figure, the middle of the hips at (0, 0)."""
    radians = np.deg2rad(degrees)
    points = np.zeros((18, 2))
    up, side = _direction(np.pi - radians[8]), _direction(np.pi / 2 - radians[8])
    points[NECK] = _NECK * up
    for shoulder, hip, sign in ((R_SHOULDER, R_HIP, -1), (L_SHOULDER, L_HIP, 1)):
        points[shoulder] = points[NECK] + sign * _SHOULDER * side - 0.02 * up
        points[hip] = sign * _HIP * side
    arm, leg = (_UPPER_ARM, _FOREARM), (_THIGH, _SHIN)
    limbs = ((R_SHOULDER, arm, 0), (L_SHOULDER, arm, 2), (R_HIP, leg, 4), (L_HIP, leg, 6))
    for first, (upper, lower), at in limbs:
        points[first + 1] = points[first] + upper * _direction(radians[at])
        points[first + 2] = points[first + 1] + lower * _direction(radians[at + 1])
    tilt = radians[8] + radians[9]
    head = points[NECK] + _HEAD * _direction(np.pi - tilt)
    for joint, (across, down) in _FACE.items():
        points[joint] = head + across * _direction(np.pi / 2 - tilt) - down * _direction(np.pi - tilt)
    return points


def _direction(angle: float) -> Keypoints:
    """Unit vector at an angle from straight down, positive towards the right."""
    return np.array([np.sin(angle), np.cos(angle)])
