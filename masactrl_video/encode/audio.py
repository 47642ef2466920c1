"""The clip's sound beside new frames."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from masactrl_video.encode.container import Container
from masactrl_video.encode.ffmpeg import run_ffmpeg
from masactrl_video.video.probe import LOCAL_MEDIA_ONLY, has_audio, late_audio_seconds

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AudioPlan:
    """ffmpeg's options for the sound: those before and with the input file, and those of the output."""

    input_options: tuple[str, ...] = ()
    output_options: tuple[str, ...] = ()


def plan_audio(
    audio_from: Path | None, start_seconds: float, seconds: float, container: Container, trial: Path
) -> AudioPlan:
    """Take all audio tracks of `audio_from` from `start_seconds` on for `seconds`; nothing where it has none.

    A stretch from the very start is copied where the container takes the codec. Any other is encoded again: a copy can
    only be cut between packets, and most containers then play it early by as much as half a second.

    Args:
        trial: a file name with the container's suffix that may be written, to find out what the container takes.
    """
    if audio_from is None or not has_audio(audio_from):
        return AudioPlan()
    if not container.audio_codec:
        logger.warning("%s holds no sound: the sound of %s is left out", trial.suffix, audio_from)
        return AudioPlan()
    late_seconds = max(0.0, late_audio_seconds(audio_from) - start_seconds)
    late = ("-itsoffset", f"{late_seconds:.6f}") if late_seconds else ()
    source = (*LOCAL_MEDIA_ONLY, *late, "-i", str(audio_from.absolute()))
    copied = start_seconds == 0 and _can_copy(source, trial)
    cut = ("-ss", f"{start_seconds:.6f}") if start_seconds else ()
    codec = ("-c:a", "copy") if copied else container.audio_codec
    return AudioPlan((*cut, "-t", f"{seconds:.6f}", *source), ("-map", "1:a", *codec))


def _can_copy(source: tuple[str, ...], trial: Path) -> bool:
    return run_ffmpeg(["-t", "0.1", *source, "-map", "0:a", "-c", "copy", str(trial)]) is None
