"""Frames are told of, and the bar counts them; the time left goes by the steps that they have taken."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from masactrl_video.cli.bars import Bars
from masactrl_video.progress import RenderProgress, telling, watching
from masactrl_video.render.steps import RenderSteps


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bars]:
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    bars = Bars()
    with watching(bars):
        yield bars


def shown(bars: Bars) -> str:
    (bar,) = bars.shown.values()
    return re.sub(r"\|.*\|", "|", str(bar))


def test_frames_are_counted_with_those_that_were_there(bars: Bars) -> None:
    told: list[RenderProgress] = []
    render = RenderSteps(4, 8, 5, told.append)
    with telling(render.task):
        render.begin_chunk()
        assert shown(bars).startswith("render:  50%| 4/8 frames [00:00<")
        for step in range(4):
            render.step(step, [4, 5])
        assert "70%| 4/8 frames" in shown(bars) and shown(bars).endswith("step 4/5]")
        render.begin_chunk()  # anew, with smaller batches
        assert "50%| 4/8 frames" in shown(bars)
        for step in range(5):
            render.step(step, [4])
            render.step(step, [5])
        render.end_chunk()
        assert "75%| 6/8 frames" in shown(bars)
        for step in range(5):
            render.step(step, [6, 7])
        render.end_chunk()
        assert "100%| 8/8 frames" in shown(bars) and "frame·step" not in shown(bars)
    assert not bars.shown
    assert told[-1] == RenderProgress(frame=7, frames=8, step=4, steps=5, seconds_left=0)


def test_one_frame_is_one_frame(bars: Bars) -> None:
    render = RenderSteps(1, 1, 2, lambda progress: None)
    with telling(render.task):
        render.begin_chunk()
        render.step(0, [0])
        assert " 50%| 0/1 frame [" in shown(bars)
