"""How much of a damaged video comes before its damage.

decord says that a frame cannot be decoded as soon as any of its threads comes to it, which is now earlier, now later.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from masactrl_video.video.ffmpeg_reader import decoding_command
from masactrl_video.video.frame import Timing
from masactrl_video.video.probe import listing_header, packets
from masactrl_video.video.streams import VideoStream


def readable_frames(path: Path, stream: VideoStream, timings: Sequence[Timing]) -> int:
    """How many frames come, each at its time, before the first that cannot be decoded; decodes the whole file."""
    command = decoding_command(path, stream, ("-f", "framecrc"), strict=True)
    listing = subprocess.run(command, capture_output=True, text=True, errors="replace").stdout
    tick_seconds = Fraction(listing_header(listing).get("tb", "1"))
    starts_seconds = [float(start * tick_seconds) for start, _ in packets(listing)]
    together = zip(timings, starts_seconds, strict=False)
    wrong = (n for n, (timing, start) in enumerate(together) if abs(start - timing.start_seconds) > _tolerance(timing))
    return next(wrong, min(len(timings), len(starts_seconds)))


def _tolerance(timing: Timing) -> float:
    return timing.duration_seconds / 2
