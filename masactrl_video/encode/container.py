"""Video containers by file suffix, and what each of them needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from masactrl_video.encode.timing import Ticks, plan_ticks
from masactrl_video.errors import UserError


@dataclass(frozen=True)
class Container:
    """How a kind of video file is written."""

    video_codec: str
    """Used when none is asked for."""
    audio_codec: tuple[str, ...]
    """Options for sound that cannot be copied; empty where the container holds no sound."""
    ticks_per_second: int
    """How finely it keeps the times of frames."""
    keeps_any_rate: bool
    """Whether frame k of a constant rate can be shown at k / rate, free of those ticks."""
    options: tuple[str, ...] = ()

    def ticks(self, durations_seconds: Sequence[float]) -> Ticks:
        """How it keeps the times of frames. Raises UserError when one is too short for it."""
        return plan_ticks(durations_seconds, self.ticks_per_second, keeps_any_rate=self.keeps_any_rate)


_AAC = ("-c:a", "aac", "-b:a", "192k")
_OPUS = ("-c:a", "libopus", "-b:a", "160k")
_FASTSTART = ("-movflags", "+faststart")  # the index comes first: a browser plays before it has everything

_CONTAINERS = {
    ".mp4": Container("libx264", _AAC, 90_000, True, _FASTSTART),
    ".mov": Container("libx264", _AAC, 90_000, True, _FASTSTART),
    ".mkv": Container("libx264", _AAC, 1_000, True),
    ".webm": Container("libvpx-vp9", _OPUS, 1_000, True, ("-b:v", "0", "-row-mt", "1")),
    ".gif": Container("gif", (), 100, False, ("-loop", "0")),
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
