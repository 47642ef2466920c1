"""The examples that render and show a clip, run as a user would."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from video.made_clips import make_clip

from masactrl_video.video.clip import open_clip
from masactrl_video.video.png import read_png

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.long
def test_it_renders_a_clip_and_a_sheet_shows_it(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", size="128x128", frame_rate="5", seconds=0.8)
    env = {**os.environ, "MASACTRL_VIDEO_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, EXAMPLES / "render_clip.py", clip, tmp_path / "out.mp4"]
    subprocess.run(command, check=True, env=env, cwd=tmp_path)
    assert len(list(open_clip(tmp_path / "out.mp4"))) == 4
    command = [sys.executable, EXAMPLES / "contact_sheet.py", tmp_path / "sheet.png", "2", clip, tmp_path / "out.mp4"]
    subprocess.run(command, check=True, cwd=tmp_path)
    assert read_png(tmp_path / "sheet.png").shape == (256, 256, 3)
