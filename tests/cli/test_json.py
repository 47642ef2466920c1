"""`--json`: what happens, for other programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
SHORT = ("--num-inference-steps", "2", "--masa-step", "1", "--frame-load-cap", "2", "--batch-size", "1")


def events(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_a_render_tells_its_stages_its_steps_and_its_result(run: Run, clip: Path, tmp_path: Path) -> None:
    ran = run("render", "-q", clip, "-o", tmp_path / "out.mp4", "--json", *SHORT)
    assert (ran.status, ran.err) == (0, "")
    told = events(ran.out)
    assert told[-1] == {"result": {"video": str(tmp_path / "out.mp4"), "folder": str(tmp_path / "out")}}
    begun = [event["stage"] for event in told[:-1] if event.keys() == {"stage"}]
    assert begun == ["load", "guidance", "source", "render", "encode"]
    assert [event["stage"] for event in told if "seconds" in event] == begun
    steps = [event for event in told if "step" in event]
    assert [(event["step"], event["frame"]) for event in steps] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert {(event["steps"], event["frames"]) for event in steps} == {(2, 2)}
    assert steps[0]["seconds_left"] > steps[-1]["seconds_left"] == 0


def test_trouble_is_told_to_the_program_too(run: Run, clip: Path, tmp_path: Path) -> None:
    ran = run("render", clip, "-o", tmp_path / "out.mp4", "--json", "--seed", "-1")
    (event,) = events(ran.out)
    assert (ran.status, event["status"]) == (2, 2)
    assert ran.err == f"masactrl-video: {event['error']}\n"
    assert "seed: got '-1'" in event["error"]


def test_poses_and_comics_tell_it_the_same_way(run: Run, clip: Path, tmp_path: Path) -> None:
    story = tmp_path / "story.yaml"
    story.write_text(
        "characters: {hero: {prompt: a bear}}\nsettings: {num_inference_steps: 2, masa_step: 1}\n"
        "panels: [{prompt: a bear}, {prompt: a bear, caption: Hi}]"
    )
    ran = run("comic", "-q", story, "-o", tmp_path / "page.png", "--json")
    assert (ran.status, ran.err) == (0, "")
    told = events(ran.out)
    assert [event["panel"] for event in told if "panel" in event] == [1, 2]
    assert told[-1]["result"]["files"] == [str(tmp_path / "page.png")]
    assert "--- done" in (tmp_path / "page" / "log.txt").read_text()
    ran = run("animate", "-q", tmp_path / "none.json", "-o", tmp_path / "out.mp4", "--json")
    assert events(ran.out)[0]["status"] == 2


@pytest.mark.long
def test_still_pictures_tell_each_picture_and_their_sheet(run: Run, tmp_path: Path) -> None:
    prompts = ("--source-prompt", "a bear", "--prompt", "a frog")
    for command, more, pictures in (("synthesize", (), 1), ("sweep", ("--rows", "masa_step=0,1"), 2)):
        folder = tmp_path / command
        ran = run(command, "-q", "-o", folder, "--json", *SHORT[:4], *prompts, *more)
        assert (ran.status, ran.err) == (0, "")
        told = events(ran.out)
        assert [event["stage"] for event in told if event.keys() == {"stage"}] == ["load", "pictures"]
        assert [event["picture"] for event in told if "picture" in event] == list(range(1, pictures + 1))
        assert told[-1] == {"result": {"sheet": str(folder / "sheet.png"), "folder": str(folder)}}
        assert "pictures took" in (folder / "log.txt").read_text()
