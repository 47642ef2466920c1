"""The frames of a damaged video before its damage, decoded by ffmpeg itself.

decord says that a frame cannot be decoded as soon as any of its threads comes to it, which is now earlier, now later.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from masactrl_video.video.ffmpeg_program import ffmpeg_program
from masactrl_video.video.probe import LOCAL_VIDEO_ONLY, packets

_FRAMES = ("-map", "0:V:0", "-fps_mode", "passthrough")


def readable_frames(path: Path) -> int:
    """How many frames come before the first that cannot be decoded; decodes the file at an absolute path."""
    strict = ("-xerror", "-err_detect", "crccheck+explode")
    done = subprocess.run(_command(path, *strict, output=("-f", "framecrc")), capture_output=True, text=True)
    return len(packets(done.stdout))


def read_frames(path: Path, size_px: tuple[int, int], positions: range) -> Iterator[NDArray[np.uint8]]:
    """RGB (height, width, 3) of the frames at ascending positions, all of them before `readable_frames`.

    Args:
        size_px: width and height of a decoded frame, as it is turned.
    """
    width_px, height_px = size_px
    size_bytes = width_px * height_px * 3
    output = ("-frames:v", str(positions[-1] + 1), "-pix_fmt", "rgb24", "-f", "rawvideo")
    with subprocess.Popen(_command(path, output=output), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            for position in range(positions[-1] + 1):
                data = process.stdout.read(size_bytes)
                if len(data) < size_bytes:
                    return
                if position in positions:
                    yield (
                        np.frombuffer(data, np.uint8).reshape(height_px, width_px, 3).copy()
                    )  # one that may be written
        finally:
            process.kill()


def _command(path: Path, *options: str, output: tuple[str, ...]) -> list[str]:
    start = [
        ffmpeg_program(),
        "-nostdin",
        "-loglevel",
        "quiet",
        *options,
        "-fflags",
        "+discardcorrupt",
        "-threads",
        "1",
    ]
    return [*start, *LOCAL_VIDEO_ONLY, "-i", str(path), *_FRAMES, *output, "-"]
