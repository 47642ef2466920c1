"""Keys that go with the limbs, from the command line to the pixels, in this process and in one that has the plan."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_flux
from PIL import Image

from masactrl_video.cli.main import main
from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.from_settings import model_from_settings
from masactrl_video.poses.named_poses import named_pose
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_json import write_poses
from masactrl_video.render.executor import Executor, LocalExecutor
from masactrl_video.render.frames import FramesJob
from masactrl_video.render.plan import RenderPlan
from masactrl_video.render.steps import RenderSteps
from masactrl_video.render.worker import run_chunk
from masactrl_video.settings.presets import resolve
from masactrl_video.video.png import read_png


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`dev`, its ControlNet `control`, and the poses `walk.json` and `still.json` of three frames."""
    folder = tmp_path_factory.mktemp("flux")
    tiny_flux.pipeline(guidance=True).save_pretrained(folder / "dev")
    tiny_flux.controlnet(tiny_flux.transformer(guidance=True)).save_pretrained(folder / "control")
    write_poses(folder / "walk.json", walk([0, 16, None]))
    write_poses(folder / "still.json", walk([0, 0, 0]))
    return folder


def walk(steps_px: Sequence[float | None]) -> list[Pose]:
    """A person on a canvas of 64 x 64 px who goes to the right, or is not there."""

    def at(x_px: float | None) -> Pose:
        if x_px is None:
            return Pose((), 64, 64)
        return named_pose("standing").transform(lambda xy: xy / 8 + np.array([x_px, 0.0]), width_px=64, height_px=64)

    return [at(x_px) for x_px in steps_px]


def changes(folder: Path, poses: str, **more: Any) -> dict[str, Any]:
    control = {"kind": "pose", "adapter": "controlnet", "model": str(folder / "control")}
    return {
        "clip": folder / poses, "model": str(folder / "dev"), "prompt": "a frog on the beach", "guidance": ["pose"],
        "controls": {"pose": control}, "num_inference_steps": 1, "masa_step": 0, "masa_layer": 0, "batch_size": 3,
        "guidance_scale": 3.5, "cache_dir": folder / "cache", "side_by_side": False, "width": 64, "height": 64,
    } | more  # fmt: skip


def render(folder: Path, out: Path, poses: str, **more: Any) -> tuple[list[np.ndarray], RenderPlan, DiffusionModel]:
    settings, plans = resolve({}, changes(folder, poses, **more)), []
    model = model_from_settings(settings)

    def start(plan: RenderPlan, job: FramesJob, progress: RenderSteps) -> AbstractContextManager[Executor]:
        plans.append(plan)
        return LocalExecutor(plan, job, progress)

    outputs = render_clip(settings, out, model=model, executor=start)
    return [read_png(path) for path in outputs.frames(3)], plans[0], model


def test_frames_follow_the_limbs_and_a_worker_with_the_plan_does_the_same(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    moved, plan, model = render(folder, tmp_path / "pose.mp4", "walk.json", source_positions="pose")
    as_is, _, _ = render(folder, tmp_path / "as-is.mp4", "walk.json")
    assert plan.skeletons is not None
    assert (len(plan.skeletons.sources), len(plan.skeletons.frames)) == (1, 3)
    assert np.array_equal(moved[0], as_is[0])  # the source's own pose
    assert not np.array_equal(moved[1], as_is[1])
    assert np.array_equal(moved[2], as_is[2])  # nobody is there, which is said
    assert "source_positions pose: frame 2: somebody of the source is not there" in caplog.text
    shutil.rmtree(plan.pictures)
    read = RenderPlan.from_json(plan.to_json(base=tmp_path), base=tmp_path)
    assert read == plan
    for chunk in read.chunks:
        run_chunk(read, chunk, model)
    assert all(np.array_equal(read_png(plan.picture(frame)), moved[frame]) for frame in range(3))


def test_a_clip_that_stands_still_is_as_is_to_the_bit(folder: Path, tmp_path: Path) -> None:
    masked = {"attention_mode": "masked", "mask_words": ["frog"], "mask_grid_divisor": 2, "masa_layer": 1}
    one, two = (
        render(folder, tmp_path / f"{name}.mp4", "still.json", source_positions=name, **masked)[0]
        for name in ("pose", "as-is")
    )
    assert all(np.array_equal(first, second) for first, second in zip(one, two, strict=True))


def test_a_later_source_and_a_picture_have_poses_of_their_own(folder: Path, tmp_path: Path) -> None:
    """The second source is frame 1 as the first source's limbs make it."""
    several, plan, _ = render(
        folder, tmp_path / "a.mp4", "walk.json", source_positions="pose", sources={"0": "generated", "1": "generated"}
    )
    alone, _, _ = render(folder, tmp_path / "b.mp4", "walk.json", source_positions="pose")
    assert plan.skeletons is not None
    assert [source == plan.skeletons.frames[n] for n, source in enumerate(plan.skeletons.sources)] == [True, True]
    later = read_png(tmp_path / "a" / "source-000001.png")
    assert np.abs(np.subtract(later, alone[1], dtype=np.int16)).max() <= 1
    assert np.array_equal(several[0], alone[0])


def test_a_characters_pose_is_known_or_asked_for(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    data = changes(folder, "walk.json") | {"characters_dir": tmp_path / "characters"}
    config.write_text(json.dumps({name: data[name] for name in data if name != "clip"}, default=str))
    common = ["--config", str(config)]
    assert main(["source", "make", "hero", "--pose", "standing", *common]) == 0
    assert main(["source", "make", "bare", *common]) == 0
    render = ["animate", str(folder / "walk.json"), *common, "--source-positions", "pose"]
    assert main([*render, "-o", str(tmp_path / "a.mp4"), "--character", "hero"]) == 0
    assert main([*render, "-o", str(tmp_path / "b.mp4"), "--character", "bare"]) == 2
    assert "the pose of character 'bare' is not known; give --source-pose" in capsys.readouterr().err
    assert main([*render, "-o", str(tmp_path / "b.mp4"), "--character", "bare", "--source-pose", "standing"]) == 0


@pytest.mark.long
def test_each_person_of_a_cast_takes_along_the_keys_of_the_own_character(folder: Path, tmp_path: Path) -> None:
    own = {"characters_dir": tmp_path / "characters", "guidance_scale": 1.0}
    config = tmp_path / "config.yaml"
    data = changes(folder, "walk.json", **own)
    config.write_text(json.dumps({name: data[name] for name in data if name != "clip"}, default=str))
    assert main(["source", "make", "hero", "--pose", "standing", "--config", str(config)]) == 0
    both = [
        Pose((*one.people, *other.people), 64, 64) for one, other in zip(walk([0] * 3), walk([20, 24, 22]), strict=True)
    ]
    write_poses(tmp_path / "two.json", both)
    found = {}
    for person in ("0", "1"):
        for positions in ("as-is", "pose"):
            about = {**own, "clip": tmp_path / "two.json", "cast": {person: "hero"}, "source_positions": positions}
            name = f"{person}-{positions}"
            found[name], plan, model = render(folder, tmp_path / f"{name}.mp4", "walk.json", **about)
    assert all(np.array_equal(*pair) for pair in zip(found["0-as-is"], found["0-pose"], strict=True))  # as it was made
    assert not any(np.array_equal(*pair) for pair in zip(found["1-as-is"], found["1-pose"], strict=True))
    assert plan.skeletons is not None
    (source,) = plan.skeletons.sources
    assert [source.shows(person) for person in (0, 1)] == [False, True]
    shutil.rmtree(plan.pictures)
    for chunk in plan.chunks:
        run_chunk(RenderPlan.from_json(plan.to_json(base=tmp_path), base=tmp_path), chunk, model)
    assert all(np.array_equal(read_png(plan.picture(frame)), found["1-pose"][frame]) for frame in range(3))


@pytest.mark.parametrize("positions", [pytest.param("as-is", marks=pytest.mark.long), "pose"])
def test_a_neighbour_is_seen_whatever_moves_the_sources_keys(folder: Path, tmp_path: Path, positions: str) -> None:
    """The same frames come of one batch and of three: the keys of the row before, or of the batch before."""
    found = {
        (weight, size): render(
            folder,
            tmp_path / f"{weight}-{size}.mp4",
            "walk.json",
            source_positions=positions,
            neighbour=weight,
            batch_size=size,
            chunk_frames=3,
        )[0]
        for weight, size in ((0, 3), (1, 3), (1, 1))
    }
    off, whole, apart = found.values()
    assert [np.array_equal(one, other) for one, other in zip(off, whole, strict=True)] == [True, False, False]
    assert np.abs(np.subtract(whole, apart, dtype=np.int16)).max() <= 1


@pytest.mark.long
def test_stills_follow_the_limbs_too(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    data = changes(folder, "walk.json")
    config.write_text(json.dumps({n: data[n] for n in data if n not in ("clip", "batch_size")}, default=str))
    make = ["synthesize", "--config", str(config), "--source-prompt", "a frog", "--source-positions"]
    poses = ["--source-guidance", "pose=standing", "--target-guidance", "pose=arms-raised"]
    for positions in ("pose", "as-is"):
        assert main([*make, positions, *poses, "-o", str(tmp_path / positions)]) == 0
    one, two = (read_png(tmp_path / positions / "target-1.png") for positions in ("pose", "as-is"))
    assert not np.array_equal(one, two)
    Image.new("RGB", (64, 64), (0, 0, 0)).save(tmp_path / "drawn.png")
    drawn = ["--source-guidance", "pose=standing", "--target-guidance", f"pose={tmp_path / 'drawn.png'}"]
    assert main([*make, "pose", *drawn, "-o", str(tmp_path / "c")]) == 2
    assert (
        "target_guidance pose is a picture, which tells no pose; give a pose's name or JSON" in capsys.readouterr().err
    )


def test_a_model_whose_keys_hold_no_places_is_told_so(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["animate", str(folder / "walk.json"), "-o", str(tmp_path / "o.mp4"), "--source-positions", "pose"]
    assert main([*command, "--preset", "demo"]) == 2
    assert "the keys of Stable Diffusion 1.x, 2.x and XL hold no places; leave it out" in capsys.readouterr().err
