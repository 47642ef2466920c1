"""How much of a damaged video comes before its damage.

decord says that a frame cannot be decoded as soon as any of its threads comes to it, which is now earlier, now later.
ffmpeg loses the frames that its decoder still holds when it meets an error. So it is found out how many packets come
before the damage: those alone decode without an error, and all of their frames come.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from masactrl_video.video.ffmpeg_program import ffmpeg_program
from masactrl_video.video.ffmpeg_reader import decoding_command
from masactrl_video.video.file_kind import find_damage
from masactrl_video.video.frame import Timing
from masactrl_video.video.probe import DAMAGE_SAID, listing_header, packets
from masactrl_video.video.streams import LOCAL_VIDEO_ONLY, VideoStream

_LOOK_AHEAD_PACKETS = 64
"""Of a decoder: it meets damage as much earlier, at most, than it gives the frame."""


_GIVES_CUT_FRAMES = ("gif", "webp_anim")
"""Containers of whose last frame ffmpeg gives, without a word, what is there; and its decoder makes a picture of it."""


@dataclass(frozen=True)
class Readable:
    """What of a video comes before its first damage."""

    frames: int
    """Number of frames, from the start, none of which is damaged or wants one that is."""
    packets: int
    """Of the stream, in the file's order, that hold them: a decoder must not see more."""
    is_whole: bool
    """Whether no damage was met, as far as was looked."""


class _Packet(NamedTuple):
    """Times in seconds."""

    decoded_at: float
    start: float
    duration: float


def find_readable(
    path: Path, stream: VideoStream, timings: Sequence[Timing], wanted_frames: int | None = None
) -> Readable:
    """Decode a video at an absolute path up to its first damage.

    Args:
        timings: of all frames, damaged or not.
        wanted_frames: looking a little further than so many frames is enough; None: look at the whole file.
    """
    order, before_error = _packet_order(path, stream)
    look_at = len(order)
    if wanted_frames is not None and wanted_frames < len(timings):
        last = timings[wanted_frames].start_seconds
        look_at = min(look_at, sum(packet.decoded_at < last for packet in order) + _LOOK_AHEAD_PACKETS)
    whole = min(look_at, len(order) if before_error is None else before_error)
    starts, is_good = _decode(path, stream, whole)
    if not is_good:
        whole = _good_packets(path, stream, len(starts), whole)
        starts, _ = _decode(path, stream, whole)
        return Readable(_come_in_time(timings, starts), whole, is_whole=False)
    frames = _come_in_time(timings, starts)
    if whole == before_error:
        frames = min(frames, _surely_complete(order[:whole]))
    return Readable(frames, whole, is_whole=whole == look_at)


def _packet_order(path: Path, stream: VideoStream) -> tuple[list[_Packet], int | None]:
    """The packets in the file's order, and how many come before the first error in its structure.

    ffmpeg tells of each packet when it has read it, in the same thread as of such errors.
    """
    command = [ffmpeg_program(), "-nostdin", "-hide_banner", "-loglevel", "level+info", "-debug_ts"]
    command += [*LOCAL_VIDEO_ONLY, "-i", str(path), *stream.map, "-c", "copy", "-copyinkf", "-f", "framecrc", "-"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    reading = done.stderr.partition("Stream mapping:\n")[2]
    events = re.findall(rf"demuxer (?=-> )|{DAMAGE_SAID}", reading, re.MULTILINE)
    before_error = next((n for n, event in enumerate(events) if event.startswith("[")), None)
    if before_error is None and stream.container in _GIVES_CUT_FRAMES and find_damage(path):
        before_error = max(0, len(events) - 1)
    tick_seconds = Fraction(listing_header(done.stdout).get("tb", "1"))
    rows = [row.split(",")[1:4] for row in done.stdout.splitlines() if not row.startswith("#")]
    return [_Packet(*(float(int(text) * tick_seconds) for text in row)) for row in rows], before_error


def _come_in_time(timings: Sequence[Timing], starts_seconds: Sequence[float]) -> int:
    """How many frames come, each at its time, from the first on."""
    together = enumerate(zip(timings, starts_seconds, strict=False))
    wrong = (n for n, (timing, start) in together if abs(start - timing.start_seconds) > timing.duration_seconds / 2)
    return next(wrong, min(len(timings), len(starts_seconds)))


def _surely_complete(order: Sequence[_Packet]) -> int:
    """How many frames can lack none between them where packets were lost after these.

    What was lost would be decoded later, so what is shown until then is complete; of what is shown later, the frames
    that leave no time for another.
    """
    if not order:
        return 0
    shown = sorted(order, key=lambda packet: packet.start)
    for n, (before, packet) in enumerate(pairwise(shown), 1):
        if packet.start > max(order[-1].decoded_at, before.start + 1.5 * before.duration):
            return n
    return len(shown)


def _good_packets(path: Path, stream: VideoStream, low: int, high: int) -> int:
    """The largest number of packets that decode without an error.

    Args:
        low: the number of frames that came before the error: each wants a packet at least.
        high: a number of packets that do not decode without an error.
    """
    step = _LOOK_AHEAD_PACKETS // 2
    while low + 1 < high:
        middle = min((low + high) // 2, low + step)
        is_good = _decode(path, stream, middle)[1]
        low, high, step = (middle, high, 2 * step) if is_good else (low, middle, step)
    return low


def _decode(path: Path, stream: VideoStream, first_packets: int) -> tuple[list[float], bool]:
    """Starts in seconds of the frames that come before the first error, and whether there is none."""
    small = ("-vf", "crop=min(iw\\,16):min(ih\\,16):0:0", "-f", "framecrc")  # a whole frame takes time to sum up
    command = decoding_command(path, stream, small, strict=True, first_packets=first_packets)
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    tick_seconds = Fraction(listing_header(done.stdout).get("tb", "1"))
    return [float(start * tick_seconds) for start, _ in packets(done.stdout)], done.returncode == 0
