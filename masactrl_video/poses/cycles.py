"""Looping movements that ship with the package, by name and by the side from which they are seen."""

from __future__ import annotations

from pathlib import Path

from masactrl_video.errors import UserError
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_json import read_poses

FOLDER = Path(__file__).parent / "cycles"
"""One JSON for each movement and view, made by examples/make_cycles.py; one person, on a square canvas."""

RATES = {"idle": 6.0, "walk": 10.0, "run": 12.0, "jump": 10.0, "wave": 8.0}
"""Each movement, and frames a second at which it looks natural."""

FLAT = "flat"
"""The view of a paper puppet: it faces us, and its limbs turn in the plane of the picture."""

VIEWS = (FLAT, "front", "front-right", "right", "back-right", "back")
"""From where a movement is seen. The left ones are the right ones in a mirror."""

GROUND, HEIGHT = 0.96, 0.72
"""Where soles stand, from the top, and how tall the standing figure is, in heights of the canvas."""


def cycle(name: str, view: str = FLAT) -> list[Pose]:
    """The poses of a shipped movement; the first follows the last.

    Raises:
        UserError: there is no movement of that name, or no such view.
    """
    if name not in RATES:
        raise UserError(f"actions: there is no {name!r}; there are: {', '.join(RATES)}; or give a pose JSON of a loop")
    if view not in VIEWS:
        raise UserError(f"actions: there is no view {view!r}; there are: {', '.join(VIEWS)}")
    return read_poses(FOLDER / f"{name}.{view}.json")
