"""The poses of a sheet: each movement in each facing, all standing on one line, and who is another's mirror image."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.poses.cycles import FLAT, GROUND, HEIGHT, RATES, cycle
from masactrl_video.poses.pose import BODY_NAMES, Person, Pose
from masactrl_video.poses.pose_json import POSE_SUFFIXES, read_poses
from masactrl_video.poses.skeleton import ANKLES, HIPS, NECK

Floats = NDArray[np.float64]

logger = logging.getLogger(__name__)

SIDE_PX = 512
"""Of the square canvas on which poses are placed."""
SOLE = 0.045
"""From an ankle down to the ground, in heights of the figure."""
SOLE_SHARE = SOLE * HEIGHT
"""The same, in parts of the canvas."""
_ASIDE = 0.32
"""How far from the middle the figure stands where the ground is to be seen, in parts of the side."""
_OWN_RATE = 12.0

_VIEWS = {
    "": (FLAT, False),
    "down": ("front", False),
    "down-left": ("front-right", True),
    "left": ("right", True),
    "up-left": ("back-right", True),
    "up": ("back", False),
    "up-right": ("back-right", False),
    "right": ("right", False),
    "down-right": ("front-right", False),
}
"""Facing → the view of a cycle, and whether in a mirror."""

_FACINGS = {
    1: [""],
    2: ["right", "left"],
    4: ["down", "left", "right", "up"],
    8: ["down", "down-left", "left", "up-left", "up", "up-right", "right", "down-right"],
}


@dataclass(frozen=True, eq=False)
class Strip:
    """A row of the sheet: a movement in one facing."""

    action: str
    facing: str
    """Empty where there is but one."""
    rate: float
    """Frames a second."""
    frames: range
    """Which of the rendered frames it shows."""
    mirrored: bool
    """Whether it shows them in a mirror."""
    lifts: tuple[float, ...]
    """How high the feet of each frame are above the ground, in heights of the figure; cells show them on it."""

    @property
    def name(self) -> str:
        """As animations are called: walk, walk-left."""
        return f"{self.action}-{self.facing}" if self.facing else self.action


@dataclass(frozen=True, eq=False)
class Movements:
    """All that is rendered, and what the sheet shows of it."""

    poses: list[Pose]
    """On square canvases of SIDE_PX, feet on the ground; the last `aside` ones are there to show the ground."""
    strips: list[Strip]
    aside: int
    views: list[list[int]]
    """Those of `poses` that show the figure from one side, for each side."""


Change = Callable[[list[Pose]], list[Pose]]


def plan_movements(
    actions: Sequence[str], facings: int, *, mirror: bool, rate: float | None, change: Change | None = None
) -> Movements:
    """Read the movements, stand them on the ground, and decide what is rendered.

    Args:
        actions: names of shipped cycles, or pose JSON of a closed loop.
        mirror: left facings are the mirror image of right ones.
        rate: frames a second, for all of them.
        change: gives them another body.

    Raises:
        UserError: an action that is not there, cannot be read, or has not all the facings.
    """
    poses: list[Pose] = []
    strips: list[Strip] = []
    views: dict[tuple[str, bool], list[int]] = {}
    for action in actions:
        name, own = (Path(action).stem, True) if _is_file(action) else (action, False)
        if own and facings > 2:
            raise UserError(
                f"actions: {action} is seen from one side; facings {facings} need a shipped cycle, or give 1 or 2"
            )
        done: dict[tuple[str, bool], tuple[range, tuple[float, ...]]] = {}
        for facing in _FACINGS[facings]:
            view, left = (FLAT, facing == "left") if facings <= 2 else _VIEWS[facing]
            key = (view, left and not mirror)
            if key not in done:
                standing, lifts = _standing(_read(action, view, own), action, change)
                made = [mirrored(pose) for pose in standing] if key[1] else standing
                done[key] = range(len(poses), len(poses) + len(made)), lifts
                views.setdefault(key, []).extend(done[key][0])
                poses += made
            frames, lifts = done[key]
            own_rate = rate or RATES.get(action, _OWN_RATE)
            strips.append(Strip(name, facing, own_rate, frames, left and mirror, lifts))
    first = poses[0]
    aside = [_moved(first, np.array([way * _ASIDE * SIDE_PX, 0.0])) for way in (-1, 1)]
    return Movements([*poses, *aside], strips, len(aside), list(views.values()))


def _is_file(action: str) -> bool:
    """Whether poses lie there; a shipped name is no folder that happens to be called so."""
    return action not in RATES and (Path(action).suffix.lower() in POSE_SUFFIXES or Path(action).is_dir())


def _read(action: str, view: str, own: bool) -> list[Pose]:
    if not own:
        return cycle(action, view)
    if not Path(action).exists():
        raise UserError(f"actions: there is no file {action}")
    return _of_size([_square(pose) for pose in _alone(read_poses(Path(action)), action)])


def _alone(poses: Sequence[Pose], action: str) -> list[Pose]:
    """The first person of each frame.

    Raises:
        UserError: a frame without a whole body.
    """
    if len(poses) < 2:
        raise UserError(f"actions: {action} holds one pose; a movement needs two or more")
    for number, pose in enumerate(poses):
        seen = pose.people[0].body[:, 2] > 0 if pose.people else np.zeros(len(BODY_NAMES), bool)
        if not seen[[NECK, *HIPS]].all() or not seen[ANKLES].any():
            raise UserError(
                f"actions: {action}, frame {number}: a sprite needs neck, hips and a foot; give whole bodies"
            )
    return [replace(pose, people=(Person(pose.people[0].body),)) for pose in poses]


def _square(pose: Pose) -> Pose:
    scale = SIDE_PX / max(pose.width_px, pose.height_px)
    return pose.transform(lambda xy: xy * scale, width_px=SIDE_PX, height_px=SIDE_PX)


def _of_size(poses: list[Pose]) -> list[Pose]:
    """Poses whose body is as large as the shipped cycles': by neck, hips and the longest legs."""
    ratio = body_px(cycle("idle")) / body_px(poses)
    return [pose.transform(lambda xy: xy * ratio, width_px=SIDE_PX, height_px=SIDE_PX) for pose in poses]


def body_px(poses: Sequence[Pose]) -> float:
    """Length of trunk and legs where they are longest."""
    longest = 0.0
    for pose in poses:
        points = pose.people[0].body.astype(np.float64)
        trunk = np.linalg.norm(points[NECK, :2] - points[HIPS, :2].mean(axis=0))
        legs = [
            np.linalg.norm(points[hip, :2] - points[hip + 1, :2])
            + np.linalg.norm(points[hip + 1, :2] - points[hip + 2, :2])
            for hip in HIPS
            if (points[hip : hip + 3, 2] > 0).all()
        ]
        longest = max(longest, float(trunk + max(legs, default=1.2 * trunk)))
    return longest


def _standing(poses: list[Pose], action: str, change: Change | None) -> tuple[list[Pose], tuple[float, ...]]:
    """The poses on the spot and on the ground, and how high each one's feet were above it."""
    poses = poses if change is None else change(poses)
    lowest = np.array([_lowest_px(pose) for pose in poses])
    middles = np.array([pose.people[0].body[HIPS, 0].mean() for pose in poses])
    walked = np.polyval(np.polyfit(np.arange(len(poses)), middles, 1), np.arange(len(poses)))
    if np.ptp(walked) < 0.02 * SIDE_PX:  # nobody who walks through the picture: sway stays
        walked = np.full(len(poses), middles.mean())
    line = (GROUND - SOLE * HEIGHT) * SIDE_PX
    lifts = (lowest.max() - lowest) / (HEIGHT * SIDE_PX)
    placed = [
        _moved(pose, np.array([SIDE_PX / 2 - at, line - low]))
        for pose, at, low in zip(poses, walked, lowest, strict=True)
    ]
    for number, pose in enumerate(placed):
        if pose.people[0].body[pose.people[0].body[:, 2] > 0, 1].min() < 0:
            raise UserError(
                f"actions: {action}, frame {number}: it does not fit into the picture; give poses of one size"
            )
    _tell_seam(placed, action)
    return placed, tuple(np.round(lifts, 4).tolist())


def _lowest_px(pose: Pose) -> float:
    body = pose.people[0].body
    return float(body[[ankle for ankle in ANKLES if body[ankle, 2] > 0], 1].max())


def _moved(pose: Pose, by: Floats) -> Pose:
    return pose.transform(lambda xy: xy + by, width_px=SIDE_PX, height_px=SIDE_PX)


def _tell_seam(poses: Sequence[Pose], action: str) -> None:
    steps = steps_px(poses)
    if len(steps) > 2 and steps[-1] > 1.5 * steps[:-1].max():
        logger.warning(
            "%s: its last pose is %.0f px from the first, other steps are %.0f px at most; the loop will jump; "
            "`pose tween --loop` closes it",
            action,
            steps[-1],
            steps[:-1].max(),
        )


def steps_px(poses: Sequence[Pose]) -> Floats:
    """Mean distance of the points from each pose to the next, the last one to the first, (poses,) px."""
    bodies = np.array([pose.people[0].body for pose in poses], np.float64)
    after = np.roll(bodies, -1, axis=0)
    both = (bodies[..., 2] > 0) & (after[..., 2] > 0)
    distances = np.linalg.norm(bodies[..., :2] - after[..., :2], axis=-1)
    steps: Floats = (distances * both).sum(axis=1) / np.maximum(both.sum(axis=1), 1)
    return steps


def mirrored(pose: Pose) -> Pose:
    """The pose in a mirror: what was its right is its left."""
    body = pose.people[0].body.copy()
    seen = body[:, 2] > 0
    body[seen, 0] = pose.width_px - body[seen, 0]
    return replace(pose, people=(Person(body[_MIRROR]),))


def _other_side(name: str) -> str:
    side, _, rest = name.partition(" ")
    other = {"right": "left", "left": "right"}.get(side)
    return name if other is None else f"{other} {rest}"


_MIRROR = [BODY_NAMES.index(_other_side(name)) for name in BODY_NAMES]
