"""From names of movements to the poses that are rendered, and the rows of the sheet."""

import logging
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from poses.walkers import ADULT, CHILD, walking

from masactrl_video.errors import UserError
from masactrl_video.poses.cycles import GROUND, HEIGHT, cycle
from masactrl_video.poses.named_poses import named_pose
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_json import write_poses
from masactrl_video.poses.skeleton import ANKLES, HIPS
from masactrl_video.poses.tween import tween
from masactrl_video.sprites.movements import SIDE_PX, SOLE, Movements, mirrored, plan_movements

EIGHT = ("down", "down-left", "left", "up-left", "up", "up-right", "right", "down-right")


def planned(*actions: str, facings: int = 1, mirror: bool = True) -> Movements:
    return plan_movements(actions, facings, mirror=mirror, rate=None)


def lowest(pose: Pose) -> float:
    body = pose.people[0].body
    return float(body[[ankle for ankle in ANKLES if body[ankle, 2] > 0], 1].max())


def test_every_pose_stands_on_one_line_and_a_jump_says_how_high_it_was() -> None:
    found = planned("idle", "jump")
    assert [strip.name for strip in found.strips] == ["idle", "jump"]
    assert len(found.poses) == 6 + 10 + found.aside
    np.testing.assert_allclose([lowest(pose) for pose in found.poses], (GROUND - SOLE * HEIGHT) * SIDE_PX, atol=0.1)
    assert max(found.strips[0].lifts) < 0.005
    assert found.strips[1].lifts[6] == pytest.approx(0.2, abs=0.01)


def test_the_figure_stands_aside_at_the_end_so_that_the_ground_is_seen() -> None:
    found = planned("idle")
    across = [float(pose.people[0].body[HIPS, 0].mean()) for pose in found.poses]
    assert len(across) == 6 + 2
    assert across[-2] < 0.25 * SIDE_PX and across[-1] > 0.75 * SIDE_PX
    np.testing.assert_allclose(across[:-2], SIDE_PX / 2, atol=2)


@pytest.mark.parametrize(
    ("facings", "names", "views"),
    [
        (1, ["walk"], 1),
        (2, ["walk-right", "walk-left"], 1),
        (4, ["walk-down", "walk-left", "walk-right", "walk-up"], 3),
        (8, [f"walk-{way}" for way in EIGHT], 5),
    ],
)
def test_left_facings_are_the_right_ones_in_a_mirror(facings: int, names: list[str], views: int) -> None:
    found = planned("walk", facings=facings)
    assert [strip.name for strip in found.strips] == names
    assert len(found.poses) == 8 * views + found.aside
    by_name = {strip.name: strip for strip in found.strips}
    for name, strip in by_name.items():
        assert strip.mirrored == ("left" in name)
        if strip.mirrored:
            assert strip.frames == by_name[name.replace("left", "right")].frames


def test_without_the_mirror_left_facings_are_rendered_from_mirrored_poses() -> None:
    found = planned("walk", facings=2, mirror=False)
    right, left = (found.poses[strip.frames[3]] for strip in found.strips)
    assert not any(strip.mirrored for strip in found.strips)
    np.testing.assert_array_equal(mirrored(right).people[0].body, left.people[0].body)


def test_a_mirrored_pose_has_its_sides_exchanged() -> None:
    pose = cycle("run")[0]
    twice = mirrored(mirrored(pose))
    np.testing.assert_allclose(twice.people[0].body, pose.people[0].body, atol=1e-3)
    assert mirrored(pose).people[0].body[4, 0] == pytest.approx(pose.width_px - pose.people[0].body[7, 0])


def test_own_poses_walk_on_the_spot_and_are_as_tall_as_the_others(tmp_path: Path) -> None:
    write_poses(tmp_path / "stroll.json", walking(CHILD, 8))
    write_poses(tmp_path / "march.json", walking(ADULT, 8))
    found = planned(str(tmp_path / "stroll.json"), str(tmp_path / "march.json"))
    assert [strip.name for strip in found.strips] == ["stroll", "march"]
    assert all((len(strip.frames), strip.rate) == (8, 12) for strip in found.strips)
    for strip in found.strips:
        across = np.array([found.poses[frame].people[0].body[HIPS, 0].mean() for frame in strip.frames])
        assert abs(across.mean() - SIDE_PX / 2) < 2
        assert abs(np.polyfit(range(8), across, 1)[0]) < 0.5
    np.testing.assert_allclose([lowest(pose) for pose in found.poses], (GROUND - SOLE * HEIGHT) * SIDE_PX, atol=0.5)


def test_a_folder_that_is_called_like_a_movement_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)
    assert [strip.name for strip in planned("run").strips] == ["run"]


def test_a_loop_that_does_not_close_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_poses(tmp_path / "half.json", tween([named_pose("standing"), named_pose("cheering")], [0, 8]))
    with caplog.at_level(logging.WARNING):
        planned(str(tmp_path / "half.json"))
    assert "the loop will jump; `pose tween --loop` closes it" in caplog.text


def test_what_cannot_be_a_sprite_is_refused(tmp_path: Path) -> None:
    nobody = tmp_path / "nobody.json"
    write_poses(nobody, [Pose((), 512, 512)] * 3)
    for action, facings, words in (
        ("fly", 1, "there is no 'fly'"),
        (str(tmp_path / "none.json"), 1, "there is no file"),
        (str(nobody), 1, "frame 0: a sprite needs neck, hips and a foot"),
        (str(nobody), 4, "seen from one side"),
    ):
        with pytest.raises(UserError, match=words):
            planned(action, facings=facings)
    write_poses(nobody, cycle("idle")[:1])
    with pytest.raises(UserError, match="holds one pose"):
        planned(str(nobody))


def test_frames_of_one_side_are_told_apart_from_those_of_another() -> None:
    assert planned("idle", "walk").views == [list(range(14))]
    eight = planned("idle", "walk", facings=8)
    assert len(eight.views) == 5  # left facings are mirror images
    assert sorted(chain(*eight.views)) == list(range(len(eight.poses) - eight.aside))
    assert len(planned("idle", facings=2, mirror=False).views) == 2
