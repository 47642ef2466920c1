"""One neighbour along a clip: off it changes nothing; on, frames depend on their chunk, and on nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from masactrl_video.attention.parts import SourcePart
from masactrl_video.errors import UserError
from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.render.executor import LocalExecutor
from masactrl_video.render.frames import FramesJob, denoise_chunk
from masactrl_video.render.plan import RenderPlan, cut_chunks
from masactrl_video.render.steps import RenderSteps
from masactrl_video.render.worker import run_chunk
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.timeline import Timeline
from masactrl_video.video.png import read_png

Render = Callable[..., Outputs]
OFF: dict[str, Any] = {"frame_load_cap": None, "batch_size": 1, "chunk_frames": 3, "source_frame": 3}
"""The source is frame 3, so that no other frame has the source's keys."""
ON = OFF | {"neighbour": 0.5}


def frames(outputs: Outputs) -> np.ndarray:
    return np.stack([read_png(path) for path in outputs.frames(4)])


@pytest.fixture(scope="module")
def off(render: Render, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    return frames(render(tmp_path_factory.mktemp("off") / "out.mp4", **OFF))


@pytest.fixture(scope="module")
def run(
    demo: Callable[..., Settings], models: Callable[[Settings], DiffusionModel], tmp_path_factory: Any
) -> tuple[Outputs, RenderPlan, FramesJob, np.ndarray]:
    """Three frames in three batches of a chunk, and one in another chunk."""
    kept: list[tuple[RenderPlan, FramesJob]] = []

    def start(plan: RenderPlan, job: FramesJob, progress: RenderSteps) -> LocalExecutor:
        kept.append((RenderPlan.from_json(plan.to_json()), job))
        return LocalExecutor(plan, job, progress)

    settings, outputs = demo(**ON), Outputs(tmp_path_factory.mktemp("on") / "out.mp4")
    render_clip(settings, outputs.video, model=models(settings), executor=start)
    return outputs, *kept[0], frames(outputs)


Run = tuple[Outputs, RenderPlan, FramesJob, np.ndarray]


def test_the_first_frame_of_each_chunk_is_as_without_and_the_others_are_not(off: np.ndarray, run: Run) -> None:
    outputs, plan, _, made = run
    assert [chunk.batches for chunk in plan.chunks] == [((0, 1), (1, 2), (2, 3)), ((3, 4),)]
    assert [(one != other).any() for one, other in zip(made, off, strict=True)] == [False, True, True, False]
    assert 0 < json.loads(outputs.report.read_text())["render"]["lowest_source_share"] < 1


def test_the_same_entry_serves_both(off: np.ndarray, run: Run, render: Render, tmp_path: Path) -> None:
    entry = json.loads(run[0].report.read_text())["cache_entry"]
    assert (
        json.loads(render(tmp_path / "o.mp4", **OFF | {"chunk_frames": 4}).report.read_text())["cache_entry"] == entry
    )


def test_a_kill_in_the_middle_of_a_chunk_and_another_worker_give_the_same_bits(
    run: Run, demo: Callable[..., Settings], models: Callable[[Settings], DiffusionModel]
) -> None:
    outputs, plan, _, made = run
    settings = demo(**ON)
    model, pictures = models(settings), outputs.frames(4)
    kept_ns = pictures[1].stat().st_mtime_ns
    for frame in (0, 2):
        pictures[frame].unlink()
    result = run_chunk(plan, plan.chunks[0], model)
    np.testing.assert_array_equal(frames(outputs), made)
    assert (result.frames_rendered, len(result.files)) == (3, 3)
    assert pictures[1].stat().st_mtime_ns == kept_ns
    assert run_chunk(plan, plan.chunks[0], model).frames_rendered == 0

    outputs.video.unlink()
    pictures[2].unlink()
    with pytest.raises(UserError, match="is from a run with other settings: chunk_frames: 3 -> 4;"):
        render_clip(demo(**ON | {"chunk_frames": 4}), outputs.video, model=model)
    render_clip(settings, outputs.video, model=model)
    assert json.loads(outputs.report.read_text())["render"]["frames_rendered"] == 3
    np.testing.assert_array_equal(frames(outputs), made)


def test_chunks_are_cut_as_if_nothing_were_there(tmp_path: Path) -> None:
    for frame in (0, 1, 4, 5, 6):
        (tmp_path / str(frame)).touch()
    path_of = [lambda frame: tmp_path / str(frame)]
    whole = cut_chunks(8, 1, 3, path_of, whole=True)
    assert [chunk.batches for chunk in whole] == [((0, 1), (1, 2), (2, 3)), ((3, 4), (4, 5), (5, 6)), ((6, 7), (7, 8))]
    for frame in (2, 3):
        (tmp_path / str(frame)).touch()
    assert [chunk.batches for chunk in cut_chunks(8, 1, 3, path_of, whole=True)] == [((6, 7), (7, 8))]
    assert [chunk.batches for chunk in cut_chunks(8, 1, 3, path_of)] == [((7, 8),)]


def test_smaller_batches_of_the_same_chunk_show_the_same_frames(run: Run) -> None:
    """As where memory runs out; sums may differ in their last digits."""
    job, found = run[2], []
    for batches in ([[0, 1, 2]], [[0], [1], [2]], [[1], [2]]):
        with job.controlled() as control:
            found.append(torch.cat(denoise_chunk(job, control, batches)))
    assert (found[0] - found[1]).abs().max() < 1e-5
    assert (found[1][1] - found[2][0]).abs().max() > 1e-3  # frame 1 has lost its neighbour


def test_with_weight_1_a_still_clip_stays_as_it_is(run: Run) -> None:
    """Each frame has the guidance and noise of the source: its neighbour's keys are the source's."""
    job = replace(run[2], guidance=[[np.asarray(kind[3])] * 4 for kind in run[2].guidance], neighbour=1.0)
    with job.controlled() as control:
        out = torch.cat(denoise_chunk(job, control, [[0, 1], [2]]))
    assert (out - out[0]).abs().max() < 1e-5


def test_neighbours_see_each_other_across_a_hand_over(run: Run) -> None:
    """Frame 1 follows both sources and frame 2 the second one: each in a group of its own."""
    job = run[2]
    parts = [SourcePart(job.source), SourcePart(job.source)]
    mixed = replace(job, parts=parts, timeline=Timeline((0, 1), 1))
    found = []
    for each, batches in ((job, [[0, 1, 2]]), (mixed, [[0, 1, 2]]), (mixed, [[0], [1], [2]])):
        with each.controlled() as control:
            found.append(torch.cat(denoise_chunk(each, control, batches)))
    assert all((other - found[0]).abs().max() < 1e-5 for other in found[1:])  # both are the same source


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention_mode": "masked", "mask_words": ["bear"]}, "attention_mode masked does not know figure and ground"),
        ({"cast": {"0": "anna"}, "guidance": ["pose"], "source_frame": 0}, "cast and neighbour exclude each other"),
        ({"neighbour": 1.5}, "neighbour: got 1.5; Input should be less than or equal to 1"),
    ],
)
def test_what_does_not_go_together_is_refused(
    demo: Callable[..., Settings], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        demo(**ON | changes)
