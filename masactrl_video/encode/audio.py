"""The clip's sound beside new frames: what of it is copied, what is encoded again, and what is left out."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

from masactrl_video.encode.container import AudioCodec, Container
from masactrl_video.encode.ffmpeg import run_ffmpeg
from masactrl_video.errors import UserError
from masactrl_video.video.probe import LOCAL_MEDIA_ONLY, late_audio_seconds, sound_codecs

logger = logging.getLogger(__name__)

_A_LITTLE = ("-frames:a", "4")  # packets, however late the first of them comes


@dataclass(frozen=True)
class AudioPlan:
    """ffmpeg's options for the sound: those before and with the input file, and those of the output."""

    input_options: tuple[str, ...] = ()
    output_options: tuple[str, ...] = ()


def plan_audio(
    audio_from: Path | None, start_seconds: float, seconds: float, container: Container, suffix: str
) -> AudioPlan:
    """Take the audio tracks of `audio_from` from `start_seconds` on for `seconds`; nothing where it has none.

    A stretch from the very start is copied where the container's players play the codec. Any other is encoded again: a
    copy can only be cut between packets, and most containers then play it early by as much as half a second.

    A little of every track is decoded and written for a trial, so that none stops the video when its frames are made.
    A track that cannot be decoded is left out, which is said.

    Args:
        suffix: of a file of that container.

    Raises:
        UserError: sound that can be decoded cannot be encoded.
    """
    codecs = () if audio_from is None else sound_codecs(audio_from)
    if audio_from is None or not codecs:
        return AudioPlan()
    if container.audio_codec is None:
        logger.warning("%s holds no sound: the sound of %s is left out", suffix, audio_from)
        return AudioPlan()
    late_seconds = max(0.0, late_audio_seconds(audio_from) - start_seconds)
    late = ("-itsoffset", f"{late_seconds:.6f}") if late_seconds else ()
    cut = ("-ss", f"{start_seconds:.6f}") if start_seconds else ()
    source = (*LOCAL_MEDIA_ONLY, *late, "-i", str(audio_from.absolute()))
    taken: list[str] = []
    with tempfile.TemporaryDirectory(prefix="masactrl-video-") as folder:
        trial = _Trial((*cut, *source), container, container.audio_codec, Path(folder) / f"trial{suffix}")
        for track, codec in enumerate(codecs):
            about = f"{audio_from}, sound track {track + 1} of {len(codecs)} ({codec})"
            options = trial.options(track, codec, taken.count("-map"), about, whole=start_seconds == 0)
            taken += ["-map", f"1:a:{track}", *options] if options else []
    if not taken:
        return AudioPlan()
    # Of a track that begins late, as much is read as of any other: so its end is told to the output as well.
    # A track that is damaged further on is played as far as it can be; by itself ffmpeg would call that a failure.
    length = ("-t", f"{seconds:.6f}")
    return AudioPlan((*cut, *length, *source), ("-max_error_rate", "1", *taken, *length))


@dataclass(frozen=True)
class _Trial:
    """Tries what can be done with a track."""

    source: tuple[str, ...]
    container: Container
    encoded: AudioCodec
    file: Path

    def options(self, track: int, codec: str, place: int, about: str, *, whole: bool) -> tuple[str, ...]:
        """For a track of the input, at its place in the output; empty when it must be left out."""
        played = self.container.audio_played is None or codec in self.container.audio_played
        if whole and played and self._problem(track, "-c", "copy", str(self.file)) is None:
            return (f"-c:a:{place}", "copy")
        undecodable = self._problem(track, "-f", "null", "-")
        if undecodable is not None:
            logger.warning(
                "%s is left out: ffmpeg cannot decode it (%s); to keep it, convert it with a program that can, or name "
                "another ffmpeg in IMAGEIO_FFMPEG_EXE",
                *(about, undecodable),
            )
            return ()
        options = self.encoded.options(place)
        problem = self._problem(track, *self.encoded.options(0), str(self.file))
        if problem is not None:
            options = (*options, f"-ac:a:{place}", "2")
            if self._problem(track, *self.encoded.options(0), "-ac", "2", str(self.file)) is not None:
                raise UserError(
                    f"{about}: ffmpeg cannot encode it as {self.encoded.name} ({problem}), which {self.file.suffix} "
                    "wants; give --no-audio, or another kind of video"
                )
            logger.warning("%s is mixed down to stereo: ffmpeg encodes it as %s only so", about, self.encoded.name)
        elif whole:
            logger.info("%s is encoded again, as %s: %s", about, self.encoded.name, _why(self.file.suffix, played))
        return options

    def _problem(self, track: int, *output: str) -> str | None:
        return run_ffmpeg([*self.source, "-map", f"0:a:{track}", *_A_LITTLE, *output])


def _why(suffix: str, played: bool) -> str:
    return f"{suffix} cannot hold it as it is" if played else f"most players of {suffix} do not play it as it is"
