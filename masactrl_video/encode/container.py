"""Video containers by file suffix, and what each of them needs."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from masactrl_video.encode.timing import Ticks, plan_ticks
from masactrl_video.errors import UserError
from masactrl_video.video.ffmpeg_program import ffmpeg_program


@dataclass(frozen=True)
class AudioCodec:
    """How sound is encoded."""

    name: str
    encoder: str
    bit_rate: str
    layouts: str = ""
    """The arrangements of loudspeakers that the encoder knows, where ffmpeg does not choose one of them by itself."""

    def options(self, track: int) -> tuple[str, ...]:
        """ffmpeg's options for an output's track, counted from 0."""
        layouts = (f"-filter:a:{track}", f"aformat=channel_layouts={self.layouts}") if self.layouts else ()
        return (f"-c:a:{track}", self.encoder, f"-b:a:{track}", self.bit_rate, *layouts)


@dataclass(frozen=True)
class Container:
    """How a kind of video file is written."""

    video_codec: str
    """Used when none is asked for."""
    audio_codec: AudioCodec | None
    """For sound that cannot be copied; None where the container holds no sound."""
    ticks_per_second: int
    """How finely it keeps the times of frames."""
    keeps_any_rate: bool
    """Whether frame k of a constant rate can be shown at k / rate, free of those ticks."""
    options: tuple[str, ...] = ()
    audio_played: frozenset[str] | None = None
    """ffmpeg's names of the codecs that its usual players play; None: whatever it can hold."""
    shortest_ticks: int = 1
    """Players show a frame of less for another time."""

    def ticks(self, durations_seconds: Sequence[float]) -> Ticks:
        """How it keeps the times of frames. Raises UserError when one is too short for it."""
        ticks = plan_ticks(durations_seconds, self.ticks_per_second, keeps_any_rate=self.keeps_any_rate)
        return ticks.at_least(self.shortest_ticks)


_AAC = AudioCodec("AAC", "aac", "192k")
_OPUS = AudioCodec("Opus", "libopus", "160k", "7.1|6.1|5.1|5.0|quad|3.0|stereo|mono")
_FASTSTART = ("-movflags", "+faststart")  # the index comes first: a browser plays before it has everything

_IN_MP4 = frozenset({"aac", "mp3", "ac3", "eac3", "alac"})
# Cameras and editors put PCM into MOV, and what plays MOV plays it.
_IN_MOV = _IN_MP4 | {"pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be"}

_CONTAINERS = {
    ".mp4": Container("libx264", _AAC, 90_000, True, _FASTSTART, _IN_MP4),
    ".mov": Container("libx264", _AAC, 90_000, True, _FASTSTART, _IN_MOV),
    ".mkv": Container("libx264", _AAC, 1_000, True),
    ".webm": Container("libvpx-vp9", _OPUS, 1_000, True, ("-b:v", "0", "-row-mt", "1"), frozenset({"opus", "vorbis"})),
    ".gif": Container("gif", None, 100, False, ("-loop", "0"), shortest_ticks=2),
}


VIDEO_SUFFIXES = tuple(_CONTAINERS)
"""Of the videos that are written."""


def container_for(path: Path) -> Container:
    """The container for a file name.

    Raises:
        UserError: the suffix is unknown.
    """
    try:
        return _CONTAINERS[path.suffix.lower()]
    except KeyError:
        raise UserError(f"{path} has no suffix of a known video; allowed are {', '.join(_CONTAINERS)}") from None


def run_ffmpeg(arguments: Sequence[str], *, stdin: Iterable[bytes] = ()) -> str | None:
    """None when it worked, else the first thing that ffmpeg said; what follows it are only the consequences.

    Args:
        stdin: written to ffmpeg part by part, however long one is waited for; what it raises ends ffmpeg.
    """
    command = [ffmpeg_program(), "-hide_banner", "-v", "error", "-y", *arguments]
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said) as process:
            try:
                _feed(process, stdin)
            except BaseException:
                process.kill()
                raise
        if process.returncode == 0:
            return None
        said.seek(0)
        reason = said.read().decode(errors="replace").strip().partition("\n")[0]
    return re.sub(r"^\[.*?\] ", "", reason) or f"exit status {process.returncode}"


def _feed(process: subprocess.Popen[bytes], parts: Iterable[bytes]) -> None:
    assert process.stdin is not None
    for part in parts:
        try:
            process.stdin.write(part)
            process.stdin.flush()
        except OSError:  # it has ended; why is in what it said
            break
    with contextlib.suppress(OSError):
        process.stdin.close()


def names_of(kind: str) -> set[str]:
    """Names of all `encoders`, `decoders`, `muxers`, `demuxers` or `bsfs` that ffmpeg has.

    Raises:
        UserError: there is no ffmpeg.
    """
    command = [ffmpeg_program(), "-hide_banner", f"-{kind}"]
    listing = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False).stdout
    if kind == "bsfs":
        return set(listing.split())
    # " V....D libx264   H.264 …" and " D   mov,mp4,m4a   QuickTime …", below a legend whose lines have " = "
    rows = re.findall(r"^ [A-Z. ]{2,6} +([^\s=]\S*)", listing, re.MULTILINE)
    return {name for row in rows for name in row.split(",")}
