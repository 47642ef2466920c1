"""Movements that ship: closed loops, seen from six sides."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from masactrl_video.errors import UserError
from masactrl_video.poses.cycles import FOLDER, GROUND, RATES, VIEWS, cycle
from masactrl_video.poses.pose import BODY_NAMES
from masactrl_video.settings.sprites import SHIPPED
from masactrl_video.sprites.movements import steps_px

FACE = [BODY_NAMES.index(name) for name in ("nose", "right eye", "left eye", "right ear", "left ear")]
SEEN = {
    "flat": [1, 1, 1, 1, 1],
    "front": [1, 1, 1, 1, 1],
    "right": [1, 1, 0, 1, 0],
    "back": [0, 0, 0, 1, 1],
    "back-right": [0, 0, 0, 1, 0],
}


def test_the_names_that_settings_offer_are_those_that_ship() -> None:
    assert tuple(RATES) == SHIPPED
    assert {path.name for path in FOLDER.glob("*.json")} == {f"{name}.{view}.json" for name in RATES for view in VIEWS}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", RATES)
def test_the_seam_of_a_loop_is_no_larger_than_the_steps_beside_it(name: str, view: str) -> None:
    steps = steps_px(cycle(name, view))
    assert steps[-1] <= max(steps[-2], steps[0]) + 0.1  # points are written with one decimal


@pytest.mark.parametrize("view", SEEN)
def test_what_of_the_face_is_turned_away_is_missing(view: str) -> None:
    for pose in cycle("walk", view):
        assert (pose.people[0].body[FACE, 2] > 0).astype(int).tolist() == SEEN[view]


@pytest.mark.parametrize("name", RATES)
def test_the_legs_of_a_paper_puppet_never_cross(name: str) -> None:
    right, left = ([BODY_NAMES.index(f"{side} {joint}") for joint in ("knee", "ankle")] for side in ("right", "left"))
    for pose in cycle(name, "flat"):
        x = pose.people[0].body[:, 0]
        assert (x[left] > x[right]).all()


def test_a_jump_leaves_the_ground_and_a_walk_does_not() -> None:
    def lowest(name: str) -> list[float]:
        return [float(pose.people[0].body[[10, 13], 1].max() / pose.height_px) for pose in cycle(name, "right")]

    assert np.ptp(lowest("walk")) < 0.001
    assert np.ptp(lowest("jump")) > 0.1
    assert max(lowest("jump")) < GROUND


def test_the_script_makes_what_ships(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "examples" / "make_cycles.py"
    runpy.run_path(str(script))["main"](tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.glob("*.json")}
    assert made == {path.name: path.read_bytes() for path in FOLDER.glob("*.json")}


def test_a_movement_that_does_not_ship_is_refused() -> None:
    with pytest.raises(UserError, match="there is no 'fly'; there are: idle, walk, run, jump, wave"):
        cycle("fly")
    with pytest.raises(UserError, match="there is no view 'above'"):
        cycle("walk", "above")
