"""Clips that nobody made for this: they lie beside a developer's checkout, and the test is skipped without them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.video.clip import open_clip
from masactrl_video.video.png import read_png


@pytest.mark.parametrize(("name", "frames"), [("girl-dancing", 8), ("man-skiing", 4)])
def test_a_real_clip_goes_through(
    shared_folder: Path, render: Callable[..., Outputs], tmp_path: Path, name: str, frames: int
) -> None:
    clip = shared_folder / "data" / "clips" / f"{name}.mp4"
    outputs = render(tmp_path / "out.mp4", clip=clip, frame_load_cap=frames)
    before, after = open_clip(clip), open_clip(outputs.video)
    seconds = sum(timing.duration_seconds for timing in before.timeline()[:frames])
    assert len(after) == frames
    assert after.info.duration_seconds == pytest.approx(seconds, abs=1e-3)
    assert after.info.has_audio == before.info.has_audio == (name == "man-skiing")
    assert read_png(outputs.guidance("canny") / "000000.png").max() == 255
    attention = json.loads(outputs.report.read_text())["render"]["attention"]
    assert attention["controlled_attention_calls"] == attention["expected_attention_calls"] == 8 * -(-frames // 4)
