"""Characters in comic panels: what is measured, and that it can tell a good picture from a wrong one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from masactrl_video.cli.main import main
from masactrl_video.demo.world.identity import SMALL_WORLD
from masactrl_video.errors import UserError
from masactrl_video.evaluate.measure import Measured
from masactrl_video.evaluate.panel_stories import make_actors, make_pairs, write_pair_story
from masactrl_video.evaluate.panels import as_markdown, evaluate_panels, is_swapped
from masactrl_video.jobs.comic.plan import plan_panels
from masactrl_video.page.story_file import pages_with_panels, read_story
from masactrl_video.video.png import read_png

SHORT = {"num_inference_steps": 2, "masa_step": 1}


def test_a_figure_that_looks_like_its_neighbour_is_a_swap() -> None:
    for one, other in make_pairs(make_actors(4, 1, 128, SMALL_WORLD)):
        posed = one.targets[0]
        right, wrong = (posed.drawn(actor.identity).image for actor in (one, other))
        assert not is_swapped(right, posed, one.identity, other.identity)
        assert is_swapped(wrong, posed, one.identity, other.identity)
        blurred = ((right.astype(int) + right.mean((0, 1))) / 2).astype(np.uint8)
        assert not is_swapped(blurred, posed, one.identity, other.identity)


def test_characters_are_held_out_and_pairs_differ_in_species() -> None:
    actors = make_actors(4, 9, 64, SMALL_WORLD)
    assert all(actor.identity.held_out for actor in actors)
    assert {posed.action for posed in actors[0].targets} == set(SMALL_WORLD.actions)
    assert len({actor.name for actor in actors}) == 4
    assert all(one.identity.species != other.identity.species for one, other in make_pairs(actors))
    assert make_pairs(actors[:1]) == []


def test_two_characters_have_halves_of_the_model_s_own_size(tmp_path: Path) -> None:
    pair = make_pairs(make_actors(4, 2, 64, SMALL_WORLD))[0]
    path = write_pair_story(pair, 2, {}, tmp_path)
    story = read_story(path)
    first, _ = plan_panels(story, pages_with_panels(story, path), tmp_path)
    assert first.panel.size == (128, 64)
    for number, (actor, part) in enumerate(zip(pair, first.poses, strict=True)):
        drawn = part.on(128, 64).people[0].body[:, :2] - (64 * number, 0)
        assert np.allclose(drawn, actor.targets[0].pose.keypoints() * 64, atol=0.01)


def test_figures_are_ratios_and_a_count() -> None:
    measured = Measured({"clip": [10.0, 20.0], "panel": [15.0, 17.4], "together": [20.0], "alone": [16.0]})
    measured.add("swapped", True)
    rows = [line for line in as_markdown(measured, "x").splitlines() if line.startswith("| ")][2:]
    assert [row.split("|")[2:5] for row in rows] == [
        [" 1.08 ", " ≤ 1.1 ", " yes "],
        [" 1.25 ", " ≤ 1.3 ", " yes "],
        [" 1.00 ", " ≤ 0 ", " no "],
    ]


@pytest.mark.long
def test_clips_and_comics_are_rendered_and_measured(tmp_path: Path) -> None:
    table = evaluate_panels(
        tmp_path / "out", model="demo", actors=2, world="small", overwrite=False, panels=2, changes=SHORT
    )
    assert (tmp_path / "out" / "panels.md").read_text() == table
    assert read_png(tmp_path / "out" / "panels.png").shape[1] > 3 * 128
    assert "in a clip" in table
    with pytest.raises(UserError, match="--overwrite"):
        evaluate_panels(tmp_path / "out", model="demo", actors=1, world="small", overwrite=False)


@pytest.mark.parametrize(
    ("flags", "words"), [(("--no-curves",), "--no-curves: it would have no effect"), (("--model", "."), "not a model")]
)
def test_what_cannot_be_evaluated_is_refused(
    tmp_path: Path, flags: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--panels", *flags, "-o", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
