"""Frames of a video file, decoded by ffmpeg itself and streamed, each known by its time."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from masactrl_video.video.ffmpeg_program import ffmpeg_program
from masactrl_video.video.frame import Timing
from masactrl_video.video.streams import VideoStream

_STRICT = ("-xerror", "-err_detect", "crccheck+explode")
_TICK = re.compile(rb"showinfo.*config in time_base: (\d+)/(\d+)")
_TIME = re.compile(rb"showinfo.* n: *\d+ pts: *(-?\d+) ")


def ffmpeg_frames(
    path: Path,
    stream: VideoStream,
    timings: Sequence[Timing],
    positions: range,
    size_px: tuple[int, int],
    *,
    first_packets: int | None = None,
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Positions, ascending, and frames, RGB (height, width, 3); ends early where one cannot be decoded.

    Args:
        timings: of all frames.
        size_px: width and height of a frame, as it is turned.
        first_packets: how many of the stream are seen, where it is known that those decode; when None all, up to the
            first error.
    """
    position = positions[0]
    for start_seconds, pixels in _decoded(path, stream, timings, position, size_px, first_packets):
        if start_seconds < _halfway_seconds(timings, position):
            continue  # nobody counted it
        if start_seconds > _halfway_seconds(timings, position + 1):
            return  # the one in between did not come
        if position in positions:
            yield position, pixels
        if position == positions[-1]:
            return
        position += 1


def _halfway_seconds(timings: Sequence[Timing], position: int) -> float:
    """Between the starts of the frame before and this one: what starts later is not the frame before."""
    before = timings[max(position, 1) - 1]
    return before.start_seconds + before.duration_seconds * (0.5 if position else -0.5)


def _decoded(
    path: Path,
    stream: VideoStream,
    timings: Sequence[Timing],
    first: int,
    size_px: tuple[int, int],
    first_packets: int | None,
) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Start in seconds and picture of the frames from the one at position `first` on."""
    width_px, height_px = size_px
    # by time, not by number: ffmpeg counts from 0 again where a stream changes its size
    late = f"select='gte(t,{_halfway_seconds(timings, first):.9f})'," if first else ""
    matrix = f":in_color_matrix={stream.assumed_matrix}" if stream.assumed_matrix else ""
    filters = f"{late}showinfo=checksum=0,scale={width_px}:{height_px}{matrix}"
    output, strict = ("-vf", filters, "-pix_fmt", "rgb24", "-f", "rawvideo"), first_packets is None
    command = decoding_command(path, stream, output, strict=strict, first_packets=first_packets)
    with tempfile.TemporaryDirectory(prefix="masactrl-video-") as folder:
        log = Path(folder) / "log"
        with (
            log.open("wb") as said,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said) as process,
            log.open("rb") as listed,
        ):
            assert process.stdout is not None
            starts_seconds = _starts_seconds(listed)
            try:
                while len(data := process.stdout.read(width_px * height_px * 3)) == width_px * height_px * 3:
                    # its time was said before it came; copied, so that it may be written
                    yield next(starts_seconds), np.frombuffer(data, np.uint8).reshape(height_px, width_px, 3).copy()
            finally:
                process.kill()


def _starts_seconds(log: BinaryIO) -> Iterator[float]:
    tick_seconds = Fraction(1)
    for line in iter(log.readline, b""):
        if match := _TICK.search(line):
            tick_seconds = Fraction(int(match[1]), int(match[2]))
        elif match := _TIME.search(line):
            yield float(int(match[1]) * tick_seconds)


def decoding_command(
    path: Path, stream: VideoStream, output: Sequence[str], *, strict: bool, first_packets: int | None = None
) -> list[str]:
    """ffmpeg's command that decodes a stream frame by frame to stdout, none dropped and none repeated."""
    start = [ffmpeg_program(), "-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info"]
    reading = (*(_STRICT if strict else ()), "-fflags", "+discardcorrupt", *stream.decoding_options(first_packets))
    passed = ("-fps_mode", "passthrough", "-enc_time_base", "demux")
    return [*start, *reading, "-i", str(path), *stream.map, *passed, *output, "-"]
