"""Several sources along a clip: each frame follows those that the timeline says, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masactrl_video.errors import UserError
from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.render.executor import LocalExecutor
from masactrl_video.render.frames import FramesJob
from masactrl_video.render.plan import RenderPlan
from masactrl_video.render.steps import RenderSteps
from masactrl_video.render.worker import run_chunk
from masactrl_video.settings.settings import Settings
from masactrl_video.video.png import read_png, write_png

Render = Callable[..., Outputs]
ALL: dict[str, Any] = {"frame_load_cap": None, "batch_size": 2}
TWO = ALL | {"sources": {"0": "generated", "3": "generated"}}


def frames(outputs: Outputs) -> list[np.ndarray]:
    return [read_png(path) for path in outputs.frames(4)]


def report(outputs: Outputs) -> dict[str, Any]:
    return dict(json.loads(outputs.report.read_text()))


def off(left: np.ndarray, right: np.ndarray) -> float:
    """Mean difference in grey levels."""
    return float(np.abs(np.subtract(left, right, dtype=np.float64)).mean())


@pytest.fixture(scope="module")
def one(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    return render(tmp_path_factory.mktemp("one") / "out.mp4", **ALL)


@pytest.fixture(scope="module")
def two(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    return render(tmp_path_factory.mktemp("two") / "out.mp4", **TWO)


def test_one_source_on_a_timeline_is_the_source_without_one(one: Outputs, render: Render, tmp_path: Path) -> None:
    along = render(tmp_path / "out.mp4", **ALL, sources={"0": "generated"})
    assert report(along)["cache_entry"] == report(one)["cache_entry"]
    assert "sources" not in report(along)
    np.testing.assert_array_equal(frames(along), frames(one))


def test_frames_before_the_second_source_do_not_know_of_it(one: Outputs, two: Outputs) -> None:
    """Frame 2 is alone in its batch, so that its sums may differ in the last digits."""
    first, second = frames(one), frames(two)
    np.testing.assert_array_equal(first[:2], second[:2])
    assert np.abs(np.subtract(first[2], second[2], dtype=np.int16)).max() <= 1


def test_a_source_generated_later_is_its_frame_as_the_first_source_makes_it(one: Outputs, two: Outputs) -> None:
    later = read_png(two.source_at(3))
    assert np.abs(np.subtract(later, frames(one)[3], dtype=np.int16)).max() <= 1
    assert (later != read_png(two.source)).any()
    along = report(two)["sources"]
    assert [source["frame"] for source in along] == [0, 3]
    assert along[0]["cache_entry"] == report(one)["cache_entry"] != along[1]["cache_entry"]


def test_a_frame_depends_on_its_own_sources_and_no_others(two: Outputs, render: Render, tmp_path: Path) -> None:
    """Another source in between leaves the frames that do not follow it as they were, to the bit."""
    after = render(tmp_path / "after.mp4", **ALL, sources={"0": "generated", "2": "clip", "3": "generated"})
    np.testing.assert_array_equal(frames(two)[:2], frames(after)[:2])
    assert (frames(two)[2] != frames(after)[2]).any()
    np.testing.assert_array_equal(frames(two)[3], frames(after)[3])


@pytest.mark.long
def test_any_chunk_size_gives_the_same_bits_from_the_cache(two: Outputs, render: Render, tmp_path: Path) -> None:
    again = render(tmp_path / "out.mp4", **TWO, chunk_frames=2)
    np.testing.assert_array_equal(frames(again), frames(two))
    assert report(again)["sources"] == report(two)["sources"]


def test_a_run_that_was_killed_goes_on_with_the_same_bits(two: Outputs, render: Render, tmp_path: Path) -> None:
    shutil.copytree(two.video.parent, tmp_path, dirs_exist_ok=True)
    outputs = Outputs(tmp_path / "out.mp4")
    outputs.video.unlink()
    for number in (1, 3):
        outputs.frames(4)[number].unlink()
    render(outputs.video, **TWO)
    assert report(outputs)["render"]["frames_rendered"] == 3  # by batches: 0 to 1, and 3
    np.testing.assert_array_equal(frames(outputs), frames(two))


@pytest.mark.long
def test_while_sources_are_mixed_frames_go_from_one_to_the_other(one: Outputs, render: Render, tmp_path: Path) -> None:
    sources = {"sources": {"0": "generated", "1": "clip"}}
    mixed = frames(render(tmp_path / "out.mp4", **ALL, **sources, hand_over="mix", hand_over_frames=2))
    at_once = frames(render(tmp_path / "once.mp4", **ALL, **sources))
    before = frames(one)
    assert 0 < off(mixed[1], before[1]) < off(at_once[1], before[1])
    assert 0 < off(mixed[2], at_once[2]) < off(before[2], at_once[2])
    np.testing.assert_array_equal(mixed[0], at_once[0])
    assert np.abs(np.subtract(mixed[3], at_once[3], dtype=np.int16)).max() <= 1  # in a batch of another size


def test_a_plan_with_several_sources_is_rendered_by_whoever_has_it(
    demo: Callable[..., Settings], models: Callable[[Settings], DiffusionModel], tmp_path: Path
) -> None:
    plans: list[RenderPlan] = []

    def start(plan: RenderPlan, job: FramesJob, progress: RenderSteps) -> LocalExecutor:
        plans.append(RenderPlan.from_json(plan.to_json()))
        return LocalExecutor(plan, job, progress)

    mixed = {"sources": {"0": "generated", "1": "clip"}, "hand_over": "mix", "hand_over_frames": 1}
    settings = demo(**ALL | mixed, chunk_frames=2)
    outputs, model = Outputs(tmp_path / "out.mp4"), models(settings)
    render_clip(settings, outputs.video, model=model, executor=start)
    made = [path.read_bytes() for path in outputs.frames(4)]
    for path in outputs.frames(4):
        path.unlink()
    assert [chunk.batches for chunk in plans[0].chunks] == [((0, 1),), ((1, 2),), ((2, 4),)]
    for chunk in reversed(plans[0].chunks):
        run_chunk(plans[0], chunk, model)
    assert [path.read_bytes() for path in outputs.frames(4)] == made


@pytest.mark.long
def test_sources_of_each_kind_stand_on_one_timeline(render: Render, one: Outputs, tmp_path: Path) -> None:
    write_png(tmp_path / "given.png", frames(one)[0])
    sources = {"0": "clip", "1": "generated", "2": str(tmp_path / "given.png"), "3": "clip"}
    outputs = render(tmp_path / "out.mp4", **ALL, sources=sources)
    assert len({source["cache_entry"] for source in report(outputs)["sources"]}) == 4
    assert all(outputs.source_at(frame).is_file() for frame in range(4))


@pytest.mark.long
def test_masked_mode_finds_the_object_in_each_source(render: Render, tmp_path: Path) -> None:
    outputs = render(tmp_path / "out.mp4", **TWO, attention_mode="masked", mask_words=["bear"])
    assert len(report(outputs)["sources"]) == 2


def test_key_frames_are_spread(render: Render, tmp_path: Path) -> None:
    outputs = render(tmp_path / "out.mp4", **ALL, key_frames=2)
    assert [source["frame"] for source in report(outputs)["sources"]] == [0, 2]


@pytest.mark.long
def test_key_frames_are_placed_where_edges_are_new(render: Render, one: Outputs, tmp_path: Path) -> None:
    outputs = render(tmp_path / "out.mp4", **ALL, key_frames="auto", key_frame_threshold=0.0001)
    assert report(outputs)["sources"][0]["cache_entry"] == report(one)["cache_entry"]
    still = render(tmp_path / "still.mp4", **ALL, key_frames="auto", key_frame_threshold=1)
    np.testing.assert_array_equal(frames(still), frames(one))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": {"0": "generated", "9": "clip"}}, "sources: got frame 9; of 4 frames the last is 3"),
        ({"sources": {"0": "generated", "1": "nobody"}}, "sources, frame 1: character 'nobody': there is none"),
        ({"sources": {"0": "generated", "1": "./none.png"}}, r"sources, frame 1: source_image: .*none\.png"),
        ({"key_frames": 5}, "key_frames: got 5 for 4 frames; give at most 4"),
        ({"key_frames": "auto", "guidance": []}, "key_frames auto: it goes by guidance pose or canny"),
    ],
)
def test_sources_that_cannot_be_are_refused_in_one_line(
    changes: dict[str, Any], message: str, render: Render, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message) as refused:
        render(tmp_path / "out.mp4", **ALL | changes)
    assert "\n" not in str(refused.value)


@pytest.mark.long
def test_pictures_of_other_sources_go_when_a_run_is_made_anew(render: Render, tmp_path: Path) -> None:
    before = render(tmp_path / "out.mp4", **TWO)
    assert before.source_at(3).is_file()
    after = render(tmp_path / "out.mp4", **ALL, overwrite=True)
    assert after.source.is_file()
    assert not after.source_at(3).exists()
