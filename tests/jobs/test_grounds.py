"""Masks with rims, and what stands behind the figure: each does what it says, and gives the same bits again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.render.executor import LocalExecutor
from masactrl_video.render.frames import FramesJob
from masactrl_video.render.plan import RenderPlan
from masactrl_video.render.steps import RenderSteps
from masactrl_video.render.worker import run_chunk
from masactrl_video.settings.settings import Settings
from masactrl_video.video.png import read_png

Render = Callable[..., Outputs]
MASKED: dict[str, Any] = {"frame_load_cap": None, "batch_size": 2, "attention_mode": "masked", "mask_words": ["bear"]}


def frames(outputs: Outputs) -> np.ndarray:
    return np.stack([read_png(path) for path in outputs.frames(4)])


@pytest.fixture(scope="module")
def plain(render: Render, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    return frames(render(tmp_path_factory.mktemp("plain") / "out.mp4", **MASKED))


@pytest.mark.parametrize(
    "changes",
    [
        {"background": "still"},
        {"background": "clip", "mask_rim": 1},
        *(
            pytest.param(changes, marks=pytest.mark.long)
            for changes in (
                {"mask_rim": "auto"},
                {"mask_attributes": ["shirt"], "mask_rim": 1, "mask_cells": "area"},
                {"background": "own"},
            )
        ),
    ],
    ids=str,
)
def test_any_chunk_size_a_kill_and_another_worker_give_the_same_bits(
    changes: dict[str, Any],
    plain: np.ndarray,
    demo: Callable[..., Settings],
    models: Callable[[Settings], DiffusionModel],
    tmp_path: Path,
) -> None:
    plans: list[RenderPlan] = []

    def start(plan: RenderPlan, job: FramesJob, progress: RenderSteps) -> LocalExecutor:
        plans.append(RenderPlan.from_json(plan.to_json()))
        return LocalExecutor(plan, job, progress)

    settings, outputs = demo(**MASKED | changes), Outputs(tmp_path / "out.mp4")
    model = models(settings)
    render_clip(settings, outputs.video, model=model, executor=start)
    made = frames(outputs)
    assert (made != plain).any()

    for path in outputs.frames(4)[2:]:
        path.unlink()
    run_chunk(plans[0], plans[0].chunks[0], model)
    np.testing.assert_array_equal(frames(outputs), made)

    outputs.video.unlink()
    outputs.frames(4)[1].unlink()
    render_clip(settings.model_copy(update={"chunk_frames": 2}), outputs.video, model=model)
    assert json.loads(outputs.report.read_text())["render"]["frames_rendered"] == 2
    np.testing.assert_array_equal(frames(outputs), made)


@pytest.mark.long
def test_the_latents_that_a_still_ground_needs_are_kept_and_all_else_is_the_same(
    render: Render, tmp_path: Path
) -> None:
    entries = []
    for background in ("source", "still"):
        outputs = render(tmp_path / background / "out.mp4", **MASKED, background=background)
        entries.append(Path(json.loads(outputs.report.read_text())["cache_entry"]))
    plain, still = entries
    assert plain != still
    assert all((still / step.name).read_bytes() == step.read_bytes() for step in plain.glob("step-*"))


@pytest.mark.long
def test_the_clips_frames_lie_in_the_runs_folder_and_go_with_it(render: Render, tmp_path: Path) -> None:
    outputs = render(tmp_path / "out.mp4", **MASKED, background="clip")
    assert (outputs.folder / "clip-frames" / "000003.png").is_file()
    shutil.rmtree(outputs.folder / "clip-frames")
    render(outputs.video, **MASKED, background="own", overwrite=True)
    assert not (outputs.folder / "clip-frames").exists()
