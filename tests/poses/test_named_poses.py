"""Poses that ship with the package, and poses placed in a part of a picture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from masactrl_video.errors import UserError
from masactrl_video.poses.draw import draw_pose
from masactrl_video.poses.named_poses import FOLDER, joined, named_pose, placed_in, pose_names

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("name", pose_names())
def test_a_named_pose_is_a_whole_person_inside_its_canvas(name: str) -> None:
    pose = named_pose(name)
    (person,) = pose.people
    assert (person.body[:, 2] == 1).all()
    assert (person.body[:, :2] > 0).all() and (person.body[:, :2] < pose.width_px).all()


def test_the_poses_that_a_story_wants_are_there() -> None:
    assert {"standing", "waving", "sitting", "running", "walking", "pointing", "cheering"} <= set(pose_names())
    with pytest.raises(UserError, match=r"there is no pose '\.\./secret'; there are: arms-raised"):
        named_pose("../secret")


def test_they_are_what_the_script_makes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, EXAMPLES / "make_named_poses.py", tmp_path], check=True)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in FOLDER.glob("*.json")}


@pytest.mark.parametrize("box", [(0, 0, 300, 200), (100, 50, 250, 200), (200, 0, 300, 200)])
def test_a_pose_is_fitted_into_its_box_with_its_proportions(box: tuple[int, int, int, int]) -> None:
    pose = named_pose("waving")
    placed = placed_in(pose, box, 300, 200)
    assert (placed.width_px, placed.height_px) == (300, 200)
    before, after = pose.people[0].body[:, :2], placed.people[0].body[:, :2]
    scale = min(box[2] - box[0], box[3] - box[1]) / 512
    assert after - after[0] == pytest.approx((before - before[0]) * scale, abs=1e-3)
    assert (after >= box[:2]).all() and (after <= box[2:]).all()
    middle = (before[:, 0].mean() - 256) * scale + (box[0] + box[2]) / 2
    assert after[:, 0].mean() == pytest.approx(middle, abs=1e-2)


def test_joined_poses_are_drawn_together() -> None:
    left, right = (placed_in(named_pose("standing"), box, 200, 100) for box in ((0, 0, 100, 100), (100, 0, 200, 100)))
    picture = draw_pose(joined([left, right]))
    assert np.array_equal(picture, np.maximum(draw_pose(left), draw_pose(right)))
    assert picture[:, :100].any() and picture[:, 100:].any()
