"""People of a clip who follow characters of their own, each in the own part of the picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from masactrl_video.demo.clip import HERO, alike, crossing_frames
from masactrl_video.errors import UserError
from masactrl_video.jobs.make_character import make_character
from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.poses.pose import Person, Pose
from masactrl_video.poses.pose_json import write_poses
from masactrl_video.render.executor import LocalExecutor
from masactrl_video.render.frames import FramesJob
from masactrl_video.render.plan import RenderPlan
from masactrl_video.render.steps import RenderSteps
from masactrl_video.render.worker import run_chunk
from masactrl_video.settings.settings import Settings
from masactrl_video.video.png import read_png, write_png

FRAMES = 3
Made = Callable[..., Settings]
Models = Callable[[Settings], DiffusionModel]


def person(points: np.ndarray) -> Person:
    return Person(np.insert(points, 2, 1, axis=1).astype(np.float32))


@pytest.fixture(scope="module")
def place(demo: Made, models: Models, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a clip in which two cross, with the characters that they are."""
    folder = tmp_path_factory.mktemp("cast")
    (folder / "clip").mkdir()
    drawn = list(crossing_frames(alike(HERO), FRAMES, 64))
    for number, frame in enumerate(drawn):
        write_png(folder / "clip" / f"{number}.png", frame.image)
    write_poses(folder / "poses.json", [Pose(tuple(map(person, frame.keypoints)), 128, 64) for frame in drawn])
    saved = {"characters_dir": folder / "characters", "width": 64, "height": 64}
    bare = models(demo(guidance=[]))
    for name, seed in (("one", 0), ("two", 1)):
        settings = demo(guidance=[], prompt="a bear in a red shirt", seed=seed, **saved)
        make_character(settings, name, caption=None, words=["bear"], model=bare)
    return {
        "clip": folder / "clip",
        "pose_json": folder / "poses.json",
        "characters_dir": saved["characters_dir"],
        "guidance": ["pose"],
        "width": 128,
        "height": 64,
        "frame_load_cap": None,
        "batch_size": 2,
        "cast": {"0": "one", "1": "two"},
    }


def frames(outputs: Outputs) -> np.ndarray:
    return np.stack([read_png(path) for path in outputs.frames(FRAMES)])


def test_any_chunk_size_a_kill_and_another_worker_give_the_same_bits(
    place: dict[str, Any], demo: Made, models: Models, tmp_path: Path
) -> None:
    plans: list[RenderPlan] = []

    def start(plan: RenderPlan, job: FramesJob, progress: RenderSteps) -> LocalExecutor:
        plans.append(RenderPlan.from_json(plan.to_json()))
        return LocalExecutor(plan, job, progress)

    settings = demo(**place, cast_prompts={"1": "a bear in a blue shirt"})
    outputs, model = Outputs(tmp_path / "out.mp4"), models(settings)
    render_clip(settings, outputs.video, model=model, executor=start)
    made, report = frames(outputs), json.loads(outputs.report.read_text())
    assert [(source["person"]) for source in report["sources"]] == [0, 1]
    assert all(report["render"]["attention"][f"tokens_of_source_{number}"] for number in (0, 1))
    assert outputs.source_at(0).is_file()
    assert outputs.source_at(1).is_file()

    outputs.frames(FRAMES)[2].unlink()
    run_chunk(plans[0], plans[0].chunks[-1], model)
    np.testing.assert_array_equal(frames(outputs), made)

    outputs.video.unlink()
    outputs.frames(FRAMES)[1].unlink()
    render_clip(settings.model_copy(update={"chunk_frames": 2}), outputs.video, model=model)
    np.testing.assert_array_equal(frames(outputs), made)


@pytest.mark.long
def test_another_character_changes_the_part_of_its_person(
    place: dict[str, Any], demo: Made, models: Models, tmp_path: Path
) -> None:
    made = []
    for number, cast in enumerate(({"0": "one", "1": "two"}, {"0": "one", "1": "one"})):
        settings = demo(**place | {"cast": cast})
        outputs = Outputs(tmp_path / f"{number}.mp4")
        render_clip(settings, outputs.video, model=models(settings))
        made.append(frames(outputs)[0])
    changed = np.abs(np.subtract(*made, dtype=np.int16)).mean(axis=(0, 2))  # of each column
    assert changed[64:].mean() > 3 * changed[:64].mean()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cast": {"5": "one"}}, "cast: got person 5; 2 people told apart in these frames"),
        ({"cast": {"0": "nobody"}}, "character 'nobody': there is none"),
        ({"num_inference_steps": 3}, "cast, person 0: character 'one' was made with num_inference_steps 2"),
        ({"cast": {"one": "one"}}, "cast: got person 'one'; people are numbered by appearance"),
        ({"cast": {"0": "a.png"}}, "cast: got 'a.png'; name a saved character"),
        ({"cast_prompts": {"2": "a bear"}}, "cast_prompts: got person '2', who has no character"),
        ({"cast": {}, "cast_prompts": {"2": "a bear"}}, "cast_prompts: there is no cast"),
        ({"guidance": ["canny"], "pose_json": None}, "cast: people are found by their poses"),
        ({"attention_mode": "union"}, "cast and attention_mode exclude each other"),
        ({"source": "clip"}, "cast and source exclude each other"),
        ({"source_frame": 1}, "cast and source_frame exclude each other"),
        ({"key_frames": 2}, "cast and key_frames exclude each other"),
    ],
)
def test_a_cast_that_cannot_be_is_refused_in_one_line(
    changes: dict[str, Any], message: str, place: dict[str, Any], demo: Made, models: Models, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message) as refused:
        settings = demo(**place | changes)
        render_clip(settings, tmp_path / "out.mp4", model=models(settings))
    assert "\n" not in str(refused.value)


@pytest.mark.long
def test_noise_follows_the_body_with_the_same_bits_whoever_renders(
    place: dict[str, Any], demo: Made, models: Models, tmp_path: Path
) -> None:
    plans: list[RenderPlan] = []

    def start(plan: RenderPlan, job: FramesJob, progress: RenderSteps) -> LocalExecutor:
        plans.append(RenderPlan.from_json(plan.to_json()))
        noise = job.noise_of(range(FRAMES))
        assert all(torch.equal(one.flatten().sort().values, noise[0].flatten().sort().values) for one in noise)
        assert torch.equal(noise[0], job.source_noise[0])
        assert not torch.equal(noise[1], noise[0])
        return LocalExecutor(plan, job, progress)

    settings = demo(**place | {"cast": {}, "noise": "body"})
    outputs, model = Outputs(tmp_path / "out.mp4"), models(settings)
    render_clip(settings, outputs.video, model=model, executor=start)
    made = frames(outputs)
    outputs.frames(FRAMES)[2].unlink()
    run_chunk(plans[0], plans[0].chunks[-1], model)
    np.testing.assert_array_equal(frames(outputs), made)
    outputs.video.unlink()
    outputs.frames(FRAMES)[1].unlink()
    render_clip(settings.model_copy(update={"chunk_frames": 2}), outputs.video, model=model)
    np.testing.assert_array_equal(frames(outputs), made)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"guidance": ["canny"], "pose_json": None, "cast": {}}, "noise body: it follows poses; take guidance pose"),
        ({"cast": {}, "character": "one"}, "noise body: where the body stands is known of a source that is a frame"),
        ({}, "noise body: where the body stands is known"),
    ],
)
def test_noise_that_cannot_follow_is_refused_in_one_line(
    changes: dict[str, Any], message: str, place: dict[str, Any], demo: Made
) -> None:
    with pytest.raises(UserError, match=message):
        demo(**place | {"noise": "body"} | changes)
