"""Write the looping cycles that ship with the package: idle, walk, run, jump and wave, seen from six sides.

python examples/make_cycles.py [FOLDER]

The movements are drawn here, as angles; nothing is taken from recordings. `flat` is a paper puppet: it faces us, and
its limbs turn in the plane of the picture, which every model follows. The other views are one puppet in space, turned
about its vertical axis and looked at from the front without perspective; what of the face is then turned away is left
out, as OpenPose does: by that models know a back from a front.
"""

import sys
from pathlib import Path

import numpy as np

from masactrl_video.demo.world.poses import FOOT
from masactrl_video.demo.world.poses import Pose as Angles
from masactrl_video.poses.cycles import FOLDER
from masactrl_video.poses.pose import Person, Pose
from masactrl_video.poses.pose_json import write_poses

SIDE_PX = 512
X, GROUND, HEIGHT = 0.5, 0.96, 0.72  # as the named poses stand
UPPER_ARM, FOREARM, THIGH, SHIN = 0.145, 0.135, 0.18, 0.175  # in heights, as the cartoon world's
TRUNK, HEAD, SHOULDER, HIP = 0.29, 0.165, 0.105, 0.062
TURNS = {"front": 0, "front-right": 45, "right": 90, "back-right": 135, "back": 180}
"""Degrees from facing us to the picture's right."""

# Cycles begin where they move least, so that the step from the last frame to the first is none of the large ones.
# A key pose every so many frames, then how high the feet are above the ground there, in heights of the figure.
# Degrees from straight down, positive towards the picture's right:
# right upper arm and forearm, left upper arm and forearm, right thigh and shin, left thigh and shin, lean, nod
FLAT: dict[str, tuple[int, list[tuple[tuple[float, ...], float]]]] = {
    "idle": (
        3,
        [((-18, -10, 18, 10, -5, -3, 5, 3, 0, 0), 0), ((-24, -16, 24, 16, -7, -5, 7, 5, 0, 3), 0)],
    ),
    # A puppet whose legs cross shows one; both look alike, so where they would pass each other they change places.
    "walk": (
        2,
        [
            ((-16, 0, 16, 28, -2, -12, 4, 2, 3, 0), 0),
            ((-30, -55, 38, 20, -24, -28, 22, 4, 4, 2), 0),
            ((-16, -28, 16, 0, 0, 2, 10, -14, 3, 0), 0),
            ((-38, -20, 30, 55, -24, -28, 22, 4, 4, 2), 0),
        ],
    ),
    "run": (
        1,
        [
            ((-62, 25, 40, 125, -32, -85, 48, -5, 11, 4), 0.03),
            ((-57, -12, 46, 88, -6, -57, 29, -4, 10.5, 3), 0.015),
            ((-52, -50, 52, 50, -6, -4, 40, -30, 10, 2), 0),
            ((-46, -88, 57, 12, -16, -45, 44, -17, 10.5, 3), 0.015),
            ((-40, -125, 62, -25, -32, -85, 48, -5, 11, 4), 0.03),
            ((-46, -88, 57, 12, -6, -57, 29, -4, 10.5, 3), 0.015),
            ((-52, -50, 52, 50, -6, -4, 40, -30, 10, 2), 0),
            ((-57, -12, 46, 88, -16, -45, 44, -17, 10.5, 3), 0.015),
        ],
    ),
    "jump": (
        2,
        [
            ((-18, -10, 18, 10, -5, -3, 5, 3, 0, 0), 0),
            ((-40, -20, 40, 20, -44, 12, 44, -12, 0, 4), 0),
            ((-120, -150, 120, 150, -8, -4, 8, 4, 0, -4), 0.12),
            ((-110, -140, 110, 140, -34, -4, 34, 4, 0, -2), 0.2),
            ((-44, -24, 44, 24, -40, 10, 40, -10, 0, 4), 0),
        ],
    ),
    "wave": (
        3,
        [((-20, -10, 115, 150, -6, -4, 6, 4, -3, -6), 0), ((-20, -10, 125, 205, -6, -4, 6, 4, -3, -2), 0)],
    ),
}
# The same in space, degrees. Each limb: how far it swings forward, how much its elbow or knee is bent, how far it is
# held out to the side; right arm, left arm, right leg, left leg, then how far the trunk leans forward.
SPACE: dict[str, tuple[int, list[tuple[tuple[float, ...], float]]]] = {
    "idle": (
        3,
        [
            ((0, 10, 14, 0, 10, 14, 0, 0, 4, 0, 0, 4, 0), 0),
            ((2, 20, 20, 2, 20, 20, 4, 9, 4, 4, 9, 4, 1), 0),
        ],
    ),
    "walk": (
        2,
        [
            ((-4, 18, 10, 4, 20, 10, 6, 8, 2, 4, 46, 2, 3), 0),
            ((26, 28, 10, -30, 12, 10, -24, 14, 2, 26, 4, 2, 4), 0),
            ((4, 20, 10, -4, 18, 10, 4, 46, 2, 6, 8, 2, 3), 0),
            ((-30, 12, 10, 26, 28, 10, 26, 4, 2, -24, 14, 2, 4), 0),
        ],
    ),
    "run": (
        2,
        [
            ((-50, 80, 12, 40, 90, 12, 46, 30, 2, -34, 60, 2, 14), 0.03),
            ((-8, 85, 12, 6, 85, 12, 8, 24, 2, 12, 105, 2, 12), 0),
            ((40, 90, 12, -50, 80, 12, -34, 60, 2, 46, 30, 2, 14), 0.03),
            ((6, 85, 12, -8, 85, 12, 12, 105, 2, 8, 24, 2, 12), 0),
        ],
    ),
    "jump": (
        2,
        [
            ((0, 10, 14, 0, 10, 14, 0, 0, 4, 0, 0, 4, 0), 0),
            ((-46, 20, 16, -46, 20, 16, 56, 92, 8, 56, 92, 8, 26), 0),
            ((150, 15, 14, 150, 15, 14, -6, 4, 5, -10, 6, 5, -2), 0.12),
            ((130, 25, 20, 130, 25, 20, 42, 70, 6, 34, 74, 6, 6), 0.2),
            ((20, 30, 24, 20, 30, 24, 50, 84, 8, 50, 84, 8, 20), 0),
        ],
    ),
    "wave": (
        3,
        [
            ((0, 10, 14, 10, 40, 128, 0, 0, 4, 0, 0, 4, 0), 0),
            ((0, 12, 14, 10, 85, 118, 0, 0, 4, 0, 0, 4, 0), 0),
        ],
    ),
}


def between(every: int, keys: list[tuple[tuple[float, ...], float]]) -> list[tuple[np.ndarray, float]]:
    """Angles and lift of each frame: eased from key to key, the last one leading back to the first."""
    values = np.array([(*angles, lift) for angles, lift in keys])
    frames = []
    for frame in range(every * len(keys)):
        key, step = divmod(frame, every)
        weight = (1 - np.cos(np.pi * step / every)) / 2
        mixed = values[key] * (1 - weight) + values[(key + 1) % len(keys)] * weight
        frames.append((mixed[:-1], float(mixed[-1])))
    return frames


def flat(angles: np.ndarray, lift: float) -> Pose:
    """The puppet of paper."""
    return posed(Angles(tuple(angles), X, GROUND - lift * HEIGHT, HEIGHT).keypoints(), np.ones(18, bool))


def turned(angles: np.ndarray, lift: float, degrees: float) -> Pose:
    """The puppet in space, turned. Within: x to its left, y up, z forward, from the middle of its hips."""
    points, lean = np.zeros((18, 3)), np.deg2rad(angles[12])
    points[1] = TRUNK * np.array([0, np.cos(lean), np.sin(lean)])
    for at, side in ((2, -1), (5, 1)):
        points[at] = points[1] + (side * SHOULDER, -0.02, 0)
    for at, side in ((8, -1), (11, 1)):
        points[at] = (side * HIP, 0, 0)
    limbs = ((2, UPPER_ARM, FOREARM, 1), (5, UPPER_ARM, FOREARM, 1), (8, THIGH, SHIN, -1), (11, THIGH, SHIN, -1))
    for number, (first, upper, lower, bends) in enumerate(limbs):
        swing, bend, out = np.deg2rad(angles[3 * number : 3 * number + 3])
        side = -1 if first in (2, 8) else 1
        points[first + 1] = points[first] + upper * hanging(swing, side * out)
        points[first + 2] = points[first + 1] + lower * hanging(swing + bends * bend, side * out)
    face = {0: (0, -0.012, 0.115), 14: (-0.05, 0.03, 0.1), 15: (0.05, 0.03, 0.1), 16: (-0.115, 0, 0), 17: (0.115, 0, 0)}
    head = points[1] + HEAD * np.array([0, np.cos(lean / 2), np.sin(lean / 2)])
    for at, place in face.items():
        points[at] = head + place
    turn = np.deg2rad(degrees)
    across = points[:, 0] * np.cos(turn) + points[:, 2] * np.sin(turn)
    towards_us = points[:, 2] * np.cos(turn) - points[:, 0] * np.sin(turn)
    seen = np.ones(18, bool)
    at_face = list(face)
    seen[at_face] = (towards_us - towards_us[1])[at_face] + 0.02 > HEAD * np.sin(lean / 2) * np.cos(turn)
    down = -points[:, 1]
    ground = GROUND - (lift + FOOT + max(down[10], down[13])) * HEIGHT
    return posed(np.column_stack([X + across * HEIGHT, ground + down * HEIGHT]), seen)


def hanging(swing: float, out: float) -> np.ndarray:
    """Direction of a bone: straight down, swung forward, then held out to the side."""
    return np.array([np.sin(out), -np.cos(out) * np.cos(swing), np.cos(out) * np.sin(swing)])


def posed(points: np.ndarray, seen: np.ndarray) -> Pose:
    """Points (18, 2) in picture heights as a pose."""
    body = np.column_stack([np.round(points * SIDE_PX, 1), np.ones(18)])
    return Pose((Person(np.where(seen[:, None], body, 0).astype(np.float32)),), SIDE_PX, SIDE_PX)


def main(folder: Path) -> None:
    """One JSON for each movement and view."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (every, keys) in FLAT.items():
        write_poses(folder / f"{name}.flat.json", [flat(*moment) for moment in between(every, keys)])
    for name, (every, keys) in SPACE.items():
        for view, degrees in TURNS.items():
            poses = [turned(*moment, degrees) for moment in between(every, keys)]
            write_poses(folder / f"{name}.{view}.json", poses)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
