"""The frames of a damaged video before its damage, decoded by ffmpeg itself.

decord says that a frame cannot be decoded as soon as any of its threads comes to it, which is now earlier, now later.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from masactrl_video.video.probe import DAMAGE_SAID, LOCAL_VIDEO_ONLY, packets

_STREAM = "0:V:0"
_STRICT = ("-xerror", "-err_detect", "crccheck+explode")
_LOOK_AHEAD_PACKETS = 64
"""Of a decoder: it reports damage as much earlier, and keeps back as many frames, at most."""


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
    """Times in ticks."""

    position: int | None
    """Of its frame, None where it is not shown."""
    decoded_at: int
    start: int
    duration: int


def find_readable(path: Path, wanted_frames: int | None = None) -> Readable:
    """Decode the video at an absolute path up to its first damage.

    Args:
        wanted_frames: looking a little further than so many frames is enough; None: look at the whole file.
    """
    order, before_error = _packet_order(path)
    look_at = len(order)
    if wanted_frames is not None:
        look_at = min(look_at, _packets_of(order, wanted_frames) + _LOOK_AHEAD_PACKETS)
    whole = min(look_at, len(order) if before_error is None else before_error)
    decoded, is_good = _decode(path, whole)
    if not is_good:
        whole = _good_packets(path, decoded, min(whole, decoded + _LOOK_AHEAD_PACKETS))
        return Readable(_frames_in(order, whole), whole, is_whole=False)
    return Readable(_frames_in(order, whole, may_lack_some=whole == before_error), whole, is_whole=whole == look_at)


def read_frames(
    path: Path, size_px: tuple[int, int], positions: range, first_packets: int
) -> Iterator[NDArray[np.uint8]]:
    """RGB (height, width, 3) of the frames at ascending positions, all of them readable.

    Args:
        size_px: width and height of a decoded frame, as it is turned.
        first_packets: of the stream, that the decoder sees.
    """
    width_px, height_px = size_px
    size_bytes = width_px * height_px * 3
    output = ("-frames:v", str(positions[-1] + 1), "-pix_fmt", "rgb24", "-f", "rawvideo")
    command = _command(path, *_only(first_packets), output=output)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
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


def _packet_order(path: Path) -> tuple[list[_Packet], int | None]:
    """The packets in the file's order, and how many come before the first error in its structure.

    ffmpeg tells of each packet when it has read it, in the same thread as of such errors.
    """
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-hide_banner", "-loglevel", "level+info", "-debug_ts"]
    command += [*LOCAL_VIDEO_ONLY, "-i", str(path), "-map", _STREAM, "-c", "copy", "-copyinkf", "-f", "framecrc", "-"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    reading = done.stderr.partition("Stream mapping:\n")[2]
    events = re.findall(rf"demuxer (?=-> )|{DAMAGE_SAID}", reading, re.MULTILINE)
    before_error = next((n for n, event in enumerate(events) if event.startswith("[")), None)
    rows = [[int(text) for text in row.split(",")[1:4]] for row in done.stdout.splitlines() if not row.startswith("#")]
    position = {start: n for n, (start, _) in enumerate(sorted(packets(done.stdout)))}
    return [_Packet(position.get(start), at, start, duration) for at, start, duration in rows], before_error


def _packets_of(order: list[_Packet], frames: int) -> int:
    """How many packets, from the file's start, hold the first frames."""
    held = [n for n, packet in enumerate(order, 1) if packet.position is not None and packet.position < frames]
    return max(held, default=0)


def _frames_in(order: list[_Packet], count: int, *, may_lack_some: bool = False) -> int:
    """How many frames, from the first on, the first packets hold without a gap.

    Args:
        may_lack_some: whether packets may have been lost after them. Those would be decoded later, so what is shown
            until then is complete; of what is shown later, the frames that leave no time for another between them.
    """
    held = sorted(packet for packet in order[:count] if packet.position is not None)
    for n, (packet, before) in enumerate(zip(held, [None, *held], strict=False)):
        has_room = before is not None and packet.start > before.start + 1.5 * before.duration
        if packet.position != n or (may_lack_some and has_room and packet.start > order[count - 1].decoded_at):
            return n
    return len(held)


def _good_packets(path: Path, low: int, high: int) -> int:
    """The largest number of packets that decode without an error; that of frames that came before it is at most that.

    The frames that a decoder still holds when it meets an error are lost, so they must be counted without the error.
    """
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if _decode(path, middle)[1] else (low, middle)
    return low


def _decode(path: Path, first_packets: int) -> tuple[int, bool]:
    """How many frames come before the first error, and whether there is none."""
    command = _command(path, *_STRICT, *_only(first_packets), output=("-f", "framecrc"))
    done = subprocess.run(command, capture_output=True, text=True)
    return len(packets(done.stdout)), done.returncode == 0


def _only(first_packets: int) -> tuple[str, ...]:
    return ("-bsf:V", f"noise=drop=gte(n\\,{first_packets})")


def _command(path: Path, *options: str, output: tuple[str, ...]) -> list[str]:
    start = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "quiet", "-threads", "1", *options]
    return [*start, *LOCAL_VIDEO_ONLY, "-i", str(path), "-map", _STREAM, "-fps_mode", "passthrough", *output, "-"]
