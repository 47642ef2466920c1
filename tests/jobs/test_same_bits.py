"""The same settings give the same frames, and what is there already is used again."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from video.made_clips import make_clip

from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.settings.presets import read_config, resolve

Render = Callable[..., Outputs]
Frames = Callable[[Outputs], list[np.ndarray]]


def cache_entry(outputs: Outputs) -> str:
    return str(json.loads(outputs.report.read_text())["cache_entry"])


def test_the_same_settings_give_the_same_files_with_a_new_cache_too(
    rendered: Outputs, render: Render, frames_of: Frames, tmp_path: Path
) -> None:
    again = render(tmp_path / "out.mp4", frame_load_cap=None, side_by_side=True)
    for left, right in zip(rendered.frames(4), again.frames(4), strict=True):
        assert left.read_bytes() == right.read_bytes()
    elsewhere = render(tmp_path / "new.mp4", frame_load_cap=None, cache_dir=tmp_path / "cache")
    assert np.array_equal(frames_of(rendered), frames_of(elsewhere))


def test_the_written_configuration_gives_the_same_frames(rendered: Outputs, tmp_path: Path) -> None:
    again = render_clip(resolve(read_config(rendered.config), {}), tmp_path / "again.mp4")
    for left, right in zip(rendered.frames(4), again.frames(4), strict=True):
        assert left.read_bytes() == right.read_bytes()
    assert rendered.source.read_bytes() == again.source.read_bytes()


def test_a_second_run_uses_the_recorded_source_and_the_guidance(
    rendered: Outputs, render: Render, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="masactrl_video")
    first = render(tmp_path / "out.mp4", frame_load_cap=None)
    assert cache_entry(first) == cache_entry(rendered)
    picture = first.guidance("canny") / "000000.png"
    made = picture.stat().st_mtime_ns
    caplog.clear()
    render(tmp_path / "out.mp4", overwrite=True, frame_load_cap=None)
    assert picture.stat().st_mtime_ns == made
    assert "guidance reused" in caplog.text
    assert "is reused" in caplog.text


@pytest.mark.long
def test_another_threshold_makes_the_guidance_anew(render: Render, tmp_path: Path) -> None:
    first = render(tmp_path / "out.mp4")
    picture, entry = (first.guidance("canny") / "000000.png").read_bytes(), cache_entry(first)
    second = render(tmp_path / "out.mp4", overwrite=True, canny_low_threshold=1, canny_high_threshold=2)
    assert (second.guidance("canny") / "000000.png").read_bytes() != picture
    assert cache_entry(second) != entry


@pytest.mark.long
def test_two_clips_with_the_same_source_share_its_record(render: Render, tmp_path: Path) -> None:
    other = make_clip(tmp_path / "other.mp4", size="64x64", seconds=0.2)
    first = render(tmp_path / "first.mp4", guidance=[])
    second = render(tmp_path / "second.mp4", guidance=[], clip=other)
    assert cache_entry(first) == cache_entry(second)


@pytest.mark.long
@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_the_batch_size_changes_no_pixel_by_more_than_three_levels(
    rendered: Outputs, render: Render, frames_of: Frames, tmp_path: Path, batch_size: int
) -> None:
    """Sums in floating point depend on a batch's composition. Measured: 1 level of 255, in 1 of 10,000 values."""
    outputs = render(tmp_path / "out.mp4", frame_load_cap=None, batch_size=batch_size)
    difference = np.abs(np.subtract(frames_of(outputs), frames_of(rendered), dtype=np.int16))
    assert difference.max() <= 3


def test_chunks_change_nothing_at_all(rendered: Outputs, render: Render, frames_of: Frames, tmp_path: Path) -> None:
    whole = render(tmp_path / "whole.mp4", frame_load_cap=None, batch_size=2)
    chunks = render(tmp_path / "chunks.mp4", frame_load_cap=None, batch_size=2, chunk_frames=2)
    assert np.array_equal(frames_of(whole), frames_of(chunks))


@pytest.mark.long
def test_a_source_held_in_memory_changes_nothing_at_all(render: Render, frames_of: Frames, tmp_path: Path) -> None:
    chunks = {"frame_load_cap": None, "batch_size": 2, "chunk_frames": 2}
    streamed = render(tmp_path / "streamed.mp4", **chunks)
    held = render(tmp_path / "held.mp4", **chunks, cache_memory="1GiB")
    assert np.array_equal(frames_of(streamed), frames_of(held))
    fed = [json.loads(outputs.report.read_text())["render"]["cache"] for outputs in (streamed, held)]
    assert [feed["held_in_memory"] for feed in fed] == [False, True]
    assert [feed["steps_read"] for feed in fed] == [2, 1]
