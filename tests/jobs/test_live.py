"""A live source: frames are those of the cached one, nothing but its latents is kept, and the rule that chooses it."""

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
from video.made_clips import make_clip

from masactrl_video.errors import UserError
from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.from_settings import model_from_settings
from masactrl_video.poses.named_poses import named_pose
from masactrl_video.poses.pose_json import write_poses
from masactrl_video.render.executor import Executor, LocalExecutor
from masactrl_video.render.frames import FramesJob
from masactrl_video.render.plan import RenderPlan
from masactrl_video.render.steps import RenderSteps
from masactrl_video.render.worker import run_chunk
from masactrl_video.settings.presets import read_preset, resolve
from masactrl_video.video.png import read_png

Rendered = tuple[list[np.ndarray[Any, Any]], dict[str, Any], RenderPlan, DiffusionModel]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny FLUX, `dev`, its ControlNet `control`, a clip, and `walk.json`, a person in three frames."""
    folder = tmp_path_factory.mktemp("live")
    tiny_flux.pipeline(guidance=True).save_pretrained(folder / "dev")
    tiny_flux.controlnet(tiny_flux.transformer(guidance=True)).save_pretrained(folder / "control")
    poses = [
        named_pose("standing").transform(lambda xy, x=x: xy / 8 + np.array([x, 0.0]), width_px=64, height_px=64)  # type: ignore[misc]
        for x in (0.0, 8.0, 16.0)
    ]
    write_poses(folder / "walk.json", poses)
    make_clip(folder / "clip.mp4", size="48x48", frame_rate="10", seconds=0.4)
    return folder


def flux(folder: Path, **more: Any) -> dict[str, Any]:
    control = {"kind": "pose", "adapter": "controlnet", "model": str(folder / "control")}
    return {
        "clip": folder / "walk.json", "model": str(folder / "dev"), "prompt": "a frog on the beach",
        "controls": {"pose": control}, "guidance": ["pose"], "num_inference_steps": 3, "masa_step": 1, "masa_layer": 0,
        "guidance_scale": 3.5, "width": 64, "height": 64, "side_by_side": False, "batch_size": 1, "chunk_frames": 2,
    } | more  # fmt: skip


def demo(folder: Path, **more: Any) -> dict[str, Any]:
    short = {"clip": folder / "clip.mp4", "frame_load_cap": 3, "num_inference_steps": 3, "masa_step": 1}
    return (
        {**read_preset("demo"), **short, "batch_size": 2, "chunk_frames": 2, "side_by_side": False}
        | {"width": 64, "height": 64}
        | more
    )


def render(out: Path, data: dict[str, Any]) -> Rendered:
    settings, plans = resolve(data, {"cache_dir": out.parent / f"cache-{out.stem}"}), []
    model = model_from_settings(settings)

    def start(plan: RenderPlan, job: FramesJob, progress: RenderSteps) -> AbstractContextManager[Executor]:
        plans.append(plan)
        return LocalExecutor(plan, job, progress)

    outputs = render_clip(settings, out, model=model, executor=start)
    frames = [read_png(path) for path in outputs.frames(3)]
    return frames, json.loads(outputs.report.read_text()), plans[0], model


def same(first: Sequence[np.ndarray[Any, Any]], second: Sequence[np.ndarray[Any, Any]]) -> bool:
    return all(np.array_equal(one, two) for one, two in zip(first, second, strict=True))


WAYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "FLUX": (flux, {}),
    "FLUX, limbs and union": (flux, {"source_positions": "pose", "attention_mode": "union"}),
    "FLUX, real guidance": (flux, {"true_cfg_scale": 2.0, "negative_prompt": "blue"}),
    "FLUX, masked": (
        flux,
        {"attention_mode": "masked", "mask_words": ["frog"], "mask_grid_divisor": 2, "masa_layer": 1},
    ),
    "FLUX, still ground": (
        flux,
        {"attention_mode": "masked", "mask_words": ["frog"], "mask_grid_divisor": 2, "masa_layer": 2, "batch_size": 2}
        | {"background": "still", "hold_colours": 0.5, "mask_threshold": 0.9},
    ),
    "FLUX, the clip's frame": (flux, {"source": "clip"}),
    "demo": (demo, {"attention_mode": "masked", "mask_words": ["bear"], "hold_colours": 0.5}),
    "demo, Euler": (demo, {"scheduler": "euler"}),
    "demo, the clip's frame": (demo, {"source": "clip", "attention_mode": "masked", "mask_words": ["bear"]}),
}


LONG = ("demo", "demo, the clip's frame", "demo, Euler", "FLUX, masked", "FLUX, the clip's frame")


@pytest.mark.parametrize("way", [pytest.param(way, marks=pytest.mark.long if way in LONG else ()) for way in WAYS])
def test_frames_are_those_of_the_cached_source_and_a_worker_makes_them_too(
    way: str, folder: Path, tmp_path: Path
) -> None:
    make, changes = WAYS[way]
    cached, before, _, _ = render(tmp_path / "cached.mp4", make(folder, **changes))
    live, report, plan, model = render(tmp_path / "live.mp4", make(folder, **changes, source_storage="live"))
    assert same(live, cached)
    assert (report["source_storage"], before["source_storage"]) == ("live", "cache")
    assert report["render"]["attention"] == before["render"]["attention"]
    assert report["cache_bytes"] < before["cache_bytes"] / 2
    shutil.rmtree(plan.pictures)
    read = RenderPlan.from_json(plan.to_json())
    for chunk in read.chunks:
        run_chunk(read, chunk, model)
    assert same([read_png(plan.picture(frame)) for frame in range(3)], live)


def test_a_chunk_costs_one_call_a_controlled_step(folder: Path, tmp_path: Path) -> None:
    _, _, plan, model = render(tmp_path / "live.mp4", flux(folder, source_storage="live"))
    calls: list[int] = []
    hook = model.denoiser.register_forward_hook(lambda *_: calls.append(1))
    shutil.rmtree(plan.pictures)
    for chunk in plan.chunks:
        run_chunk(plan, chunk, model)
    hook.remove()
    steps, controlled, chunks, frames = 3, 2, 2, 3
    assert len(calls) == frames * steps + chunks * controlled


def test_what_is_larger_than_the_quota_is_live_and_that_is_said(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cached, report, _, _ = render(tmp_path / "cached.mp4", flux(folder))
    assert "source: 2 steps x 5 layers x 1 branch: 0.0 MB of keys and values" in caplog.text
    quota = report["cache_bytes"] // 2
    live, report, _, _ = render(tmp_path / "live.mp4", flux(folder, cache_quota=quota))
    assert report["source_storage"] == "live"
    assert "more than the cache's limit of" in caplog.text
    assert "it is made again for each chunk of 2 frames (source_storage auto" in caplog.text
    assert same(live, cached)
    with pytest.raises(UserError, match="give a larger --cache-quota"):
        render(tmp_path / "no.mp4", flux(folder, cache_quota=quota, source_storage="cache"))


def test_several_sources_and_characters_are_not_live(folder: Path) -> None:
    with pytest.raises(UserError, match="source_storage live: a character's keys and values are in the cache"):
        resolve(flux(folder, source_storage="live", character="hero"), {})
    with pytest.raises(UserError, match="source_storage live: it is for a clip with one source"):
        resolve(flux(folder, source_storage="live", key_frames=2), {})
    with pytest.raises(UserError, match="cache_dtype: it would have no effect, because keys and values of a live"):
        resolve(flux(folder, source_storage="live"), {"cache_dtype": "int8"})
