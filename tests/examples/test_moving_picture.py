"""A video becomes a moving picture of the same frames and times."""

from __future__ import annotations

import runpy
from pathlib import Path

from PIL import Image

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "moving_picture.py"


def test_frames_and_times_are_those_of_the_video(tmp_path: Path) -> None:
    video, output = tmp_path / "video.gif", tmp_path / "picture.webp"
    first, *others = (Image.new("RGB", (16, 8), colour) for colour in ("red", "green", "blue"))
    first.save(video, save_all=True, append_images=others, duration=[50, 100, 150], loop=0)
    runpy.run_path(str(SCRIPT))["main"](str(output), str(video))
    with Image.open(output) as picture:
        assert (picture.size, picture.n_frames, picture.info["loop"]) == ((32, 16), 3, 0)
        durations_ms = []
        for frame in range(3):
            picture.seek(frame)
            picture.load()
            durations_ms.append(picture.info["duration"])
    assert durations_ms == [50, 100, 150]
