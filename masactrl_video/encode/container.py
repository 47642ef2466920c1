"""Video containers by file suffix, and what each of them needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from masactrl_video.encode.timing import Ticks, plan_ticks
from masactrl_video.errors import UserError


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


def container_for(path: Path) -> Container:
    """The container for a file name.

    Raises:
        UserError: the suffix is unknown.
    """
    try:
        return _CONTAINERS[path.suffix.lower()]
    except KeyError:
        raise UserError(f"{path} has no suffix of a known video; allowed are {', '.join(_CONTAINERS)}") from None
