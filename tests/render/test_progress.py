"""The bar counts frames; the time left goes by the steps that they have taken."""

from __future__ import annotations

import re

import pytest

from masactrl_video.render.chunks import RenderBar, RenderProgress


def shown(bar: RenderBar) -> str:
    return re.sub(r"\|.*\|", "|", str(bar._bar))


def test_frames_are_counted_with_those_that_were_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    told: list[RenderProgress] = []
    with RenderBar(4, 8, 5, told.append) as bar:
        bar.begin_chunk()
        assert shown(bar).startswith("render:  50%| 4/8 frames [00:00<")
        for step in range(4):
            bar.step(step, [4, 5])
        assert "70%| 4/8 frames" in shown(bar) and shown(bar).endswith("step 4/5]")
        bar.begin_chunk()  # anew, with smaller batches
        assert "50%| 4/8 frames" in shown(bar)
        for step in range(5):
            bar.step(step, [4])
            bar.step(step, [5])
        bar.end_chunk()
        assert "75%| 6/8 frames" in shown(bar)
        for step in range(5):
            bar.step(step, [6, 7])
        bar.end_chunk()
        assert "100%| 8/8 frames" in shown(bar) and "frame·step" not in shown(bar)
    assert told[-1] == RenderProgress(frame=7, frames=8, step=4, steps=5, seconds_left=0)


def test_one_frame_is_one_frame() -> None:
    with RenderBar(1, 1, 2, lambda progress: None) as bar:
        bar.begin_chunk()
        bar.step(0, [0])
        assert " 50%| 0/1 frame [" in shown(bar)
