"""Figures of a sweep with the demo model: right where the answer is known, and none where it is not."""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masactrl_video.demo.world.caption import caption, named_by
from masactrl_video.demo.world.frame import draw_frame
from masactrl_video.demo.world.identity import FULL_WORLD, SMALL_WORLD, random_identity
from masactrl_video.demo.world.poses import Posture, pose_from, random_pose
from masactrl_video.evaluate.sweep import write_figures
from masactrl_video.jobs.sweep import Cell
from masactrl_video.poses.named_poses import named_pose, pose_names
from masactrl_video.settings.presets import read_preset
from masactrl_video.settings.stills import resolve_stills
from masactrl_video.video.png import write_png

SIDE_PX = 128
WHO = random_identity(np.random.default_rng(5), SMALL_WORLD)
OTHER = random_identity(np.random.default_rng(8), SMALL_WORLD)
KNOWN = {
    "source_prompt": caption(WHO, "standing"),
    "prompt": caption(WHO, "waving"),
    "source_guidance": {"pose": "standing"},
    "target_guidance": {"pose": ["waving"]},
}


def pose_named(name: str) -> Posture:
    pose = named_pose(name)
    found = pose_from(pose.people[0].body[:, :2].astype(float) / pose.height_px)
    assert found is not None
    return found


def drawn_cells(folder: Path, **changes: Any) -> list[Cell]:
    """Two cells: the source's character in the target's pose, and another one."""
    settings = resolve_stills(read_preset("demo"), {**KNOWN, **changes})
    write_png(folder / "source.png", draw_frame(WHO, pose_named("standing"), "", SIDE_PX, SIDE_PX).image)
    cells = []
    for column, who in enumerate((WHO, OTHER)):
        path = folder / f"target-{column}.png"
        write_png(path, draw_frame(who, pose_named("waving"), "", SIDE_PX, SIDE_PX).image)
        cells.append(Cell(0, column, {"masa_step": str(column)}, settings, path, folder / "source.png"))
    return cells


def test_the_exact_picture_has_no_error_and_keeps_everything(tmp_path: Path) -> None:
    assert [getattr(OTHER, name) for name in ("pattern", "hat")] != [getattr(WHO, name) for name in ("pattern", "hat")]
    write_figures(drawn_cells(tmp_path), tmp_path / "figures.csv")
    exact, other = csv.DictReader((tmp_path / "figures.csv").read_text().splitlines())
    assert next(iter(exact)) == "masa_step"
    assert [exact["masa_step"], other["masa_step"]] == ["0", "1"]
    assert float(exact["identity_error"]) < 2 < 10 < float(other["identity_error"])
    assert float(exact["keypoints_found"]) == 1
    kept = [name for name in exact if name.endswith("_kept")]
    assert kept == ["pattern_kept", "scarf_kept", "hat_kept"]
    assert [exact[name] for name in kept] == ["1", "1", "1"]
    assert "0" in [other[name] for name in kept]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"source_guidance": {}}, "source_guidance has no pose"),
        ({"target_guidance": {}}, "target_guidance has no pose"),
        ({"prompt": "a wolf in the forest"}, "'a wolf in the forest' is no caption of the cartoon world"),
        ({"prompt": caption(OTHER, "waving")}, "names another character"),
    ],
)
def test_where_the_right_answer_is_not_known_nothing_is_written_but_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], why: str
) -> None:
    cells = drawn_cells(tmp_path, **changes)
    with caplog.at_level(logging.INFO, "masactrl_video.evaluate"):
        write_figures(cells, tmp_path / "figures.csv")
    assert not (tmp_path / "figures.csv").exists()
    assert len(caplog.messages) == 1
    assert why in caplog.messages[0]


def test_every_shipped_pose_is_of_a_body_of_the_world() -> None:
    for name in pose_names():
        assert pose_named(name).height == pytest.approx(0.72, abs=0.01)


def test_a_given_pose_is_drawn_as_its_angles_are() -> None:
    pose = random_pose("dancing", np.random.default_rng(1), 1.0)
    again = pose_from(pose.keypoints())
    assert again is not None
    first, second = (draw_frame(WHO, one, "", SIDE_PX, SIDE_PX).image for one in (pose, again))
    assert np.abs(first.astype(int) - second).mean() < 0.1


def test_another_body_is_not_of_the_world() -> None:
    points = random_pose("standing", np.random.default_rng(1), 1.0).keypoints()
    points[[9, 12]] += (0, 0.15)  # knees far too low
    assert pose_from(points) is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a panda in a blue shirt and red pants waving in the meadow", ("panda", "blue", "red")),
        ("A panda in a blue shirt and red pants", ("panda", "blue", "red")),
        ("a frog in a green shirt and green pants smiling", ("frog", "green", "green")),
        ("a frog in a green shirt and green pants and a hat", None),
        ("a robot in a blue shirt and red pants waving in the meadow", None),
        ("", None),
    ],
)
def test_a_caption_names_who_is_meant(text: str, named: tuple[str, str, str] | None) -> None:
    assert named_by(text, SMALL_WORLD) == named


def test_every_caption_is_read_back() -> None:
    for seed in range(20):
        who = random_identity(np.random.default_rng(seed))
        assert named_by(caption(who, "sitting"), FULL_WORLD) == (who.species, who.shirt, who.trousers)
