"""Pictures become a video file, one after the other."""

from __future__ import annotations

import errno
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import chain
from pathlib import Path

from PIL import Image

from masactrl_video.encode.container import AudioCodec, Container, container_for, run_ffmpeg
from masactrl_video.encode.timing import Ticks, timed_stream
from masactrl_video.errors import StorageError, UserError
from masactrl_video.storage.replace import replacing
from masactrl_video.storage.text import encodable
from masactrl_video.video.ffmpeg_program import check_ffmpeg
from masactrl_video.video.probe import LOCAL_MEDIA_ONLY, late_audio_seconds, sound_codecs

logger = logging.getLogger(__name__)

# Without stating it, ffmpeg converts by BT.601 and leaves the file untagged; players then guess, and colours shift.
_BT709 = (
    "scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_int,format={pix_fmt},"
    "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
)
# One palette a frame: a palette for all would hold the whole clip in memory.
_GIF_PALETTES = "split[a][b];[a]palettegen=stats_mode=single[palette];[b][palette]paletteuse=new=1"


@dataclass(frozen=True)
class VideoPlan:
    """What is known of a video before its first picture is there."""

    ticks: Ticks
    audio: AudioPlan


def plan_video(
    durations_seconds: Sequence[float], suffix: str, *, audio_from: Path | None = None, audio_start_seconds: float = 0.0
) -> VideoPlan:
    """Find out how a kind of video keeps the times and the sound (see `encode_video`), and say what it does not keep.

    Raises:
        UserError: an unknown suffix, a frame that the kind cannot show so briefly, or sound that cannot be encoded.
        ValueError: there is not one duration above 0 for each picture.
    """
    if min(durations_seconds, default=0) <= 0:
        raise ValueError(f"{durations_seconds = }; expected one above 0 for each picture")
    check_ffmpeg()
    container = container_for(Path(f"video{suffix}"))
    ticks = container.ticks(durations_seconds)
    if left_out := ticks.durations.count(0):
        shortest = f"{container.shortest_ticks / container.ticks_per_second:g} s"
        logger.warning(
            "%d of %d frames are left out of the %s: players do not show one for less than %s; another kind of video, "
            "such as .mp4, shows all of them",
            *(left_out, len(ticks.durations), suffix, shortest),
        )
    return VideoPlan(ticks, plan_audio(audio_from, audio_start_seconds, float(ticks.seconds), container, suffix))


def encode_video(
    pictures: Iterable[bytes],
    durations_seconds: Sequence[float],
    output: Path,
    *,
    audio_from: Path | None = None,
    audio_start_seconds: float = 0.0,
    codec: str | None = None,
    pix_fmt: str = "yuv420p",
    crf: int = 17,
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
    plan: VideoPlan | None = None,
) -> None:
    """Make a video of pictures: each exactly once, for its duration, at its size, in BT.709 colours.

    The pictures are encoded as they come. What is raised while one is waited for leaves no video.

    Args:
        pictures: the content of PNG files of one size.
        durations_seconds: how long each is shown; a constant rate is kept exactly, other times to the container's
            ticks (MP4 and MOV 1/90000 s, MKV and WebM 1/1000 s, GIF 1/100 s) without drifting. In a GIF none is shown
            for less than 2/100 s, which players turn into 1/10 s: some are left out, and the whole lasts as long.
        output: the suffix chooses the container: .mp4, .mov, .mkv, .webm or .gif.
        audio_from: file whose sound goes along, where it has any.
        audio_start_seconds: where in it the first frame lies.
        codec: an encoder of ffmpeg; None for H.264, in WebM VP9.
        pix_fmt: pixel format of ffmpeg; not used for GIF.
        crf: quality, lower is better: 0-51 for H.264, 0-63 for VP9; not used for GIF.
        metadata: parameters, kept as one JSON object in the tag "comment"; GIF has no tags.
        overwrite: whether an existing `output` may be replaced.
        plan: what `plan_video` found out, and said, about these times and this sound before.

    Raises:
        UserError: the output exists, its suffix is unknown, the pictures' sizes cannot be encoded, or ffmpeg fails.
        ValueError: there is not one duration above 0 for each picture.
    """
    _check_free(output, overwrite)
    container = container_for(output)
    if plan is None:
        plan = plan_video(
            durations_seconds, output.suffix, audio_from=audio_from, audio_start_seconds=audio_start_seconds
        )
    codec, ticks, audio = codec or container.video_codec, plan.ticks, plan.audio
    size, pictures = _of_one_size(pictures)
    picture_options = _picture_options(codec, pix_fmt, crf, size)
    with replacing(output) as partial:
        # ffmpeg leaves out a frame that it cannot read, says so, and calls that a success; with -xerror it stops. It
        # would stop at a click in the clip's sound too.
        arguments = [] if audio.input_options else ["-xerror", "-err_detect", "crccheck+explode"]
        arguments += ["-f", "ivf", "-i", "pipe:0"]
        arguments += [*audio.input_options, "-map", "0:v", *audio.output_options, *_timing_options(ticks, codec)]
        arguments += [*picture_options, *container.options, *_tags(metadata), "-map_chapters", "-1"]
        arguments.append(str(partial.absolute()))
        problem = run_ffmpeg(arguments, stdin=timed_stream(pictures, ticks))
        if problem is not None:
            if os.strerror(errno.ENOSPC) in problem:
                raise StorageError(f"ffmpeg could not write {output}: {problem}; make room: the same command goes on")
            raise UserError(f"ffmpeg could not write {output}: {problem}")
        _check_free(output, overwrite)  # the pictures may have taken hours to come


def _check_free(output: Path, overwrite: bool) -> None:
    if output.exists() and not overwrite:
        raise UserError(f"{output} exists; choose another name, or allow overwriting")


def _of_one_size(pictures: Iterable[bytes]) -> tuple[tuple[int, int], Iterator[bytes]]:
    """(width, height) of the first picture, and all of them, each compared: ffmpeg would scale others unasked."""
    pictures = iter(pictures)
    first = next(pictures, None)
    if first is None:
        raise ValueError("no pictures")
    expected = _size(first)

    def checked() -> Iterator[bytes]:
        for picture in chain([first], pictures):
            if (size := _size(picture)) != expected:
                raise UserError(f"frames of one video must have one size, but there are {expected} and {size}")
            yield picture

    return expected, checked()


def _size(picture: bytes) -> tuple[int, int]:
    with Image.open(BytesIO(picture), formats=("PNG",)) as image:
        return image.size


def _picture_options(codec: str, pix_fmt: str, crf: int, size: tuple[int, int]) -> list[str]:
    if codec == "gif":
        return ["-vf", _GIF_PALETTES, "-c:v", codec]
    _check_even(size, pix_fmt)
    look = ["-vf", _BT709.format(pix_fmt=pix_fmt)] if pix_fmt.startswith("yuv") else []
    return [*look, "-c:v", codec, "-crf", str(crf), "-pix_fmt", pix_fmt]


def _check_even(size: tuple[int, int], pix_fmt: str) -> None:
    """Formats that store colour at half the width (4:2:2) or half of both sides (4:2:0) need even sides."""
    steps = (2, 2) if "420" in pix_fmt else (2, 1) if "422" in pix_fmt else (1, 1)
    if any(side_px % step for side_px, step in zip(size, steps, strict=True)):
        raise UserError(
            f"frames of {size[0]}x{size[1]} cannot be encoded as {pix_fmt}, which needs even sides: "
            f"choose an even size, or pix_fmt yuv444p"
        )


def _timing_options(ticks: Ticks, codec: str) -> list[str]:
    """Times as the list of files gives them: no frame is dropped or repeated to fit a rate."""
    rate, durations = ticks.per_second, ticks.shown
    options = ["-fps_mode:v", "passthrough", "-enc_time_base:v", f"{rate.denominator}:{rate.numerator}"]
    if max(durations) == 1:
        return options
    # ffmpeg lets the last frame last one tick. Its packet gets the true duration; without B-frames it is also the last
    # packet, and MP4 tells the duration of a varying rate right only then.
    last = f"setts=duration='if(eq(N,{len(durations) - 1}),{durations[-1]},DURATION)'"
    options += ["-bf:v", "0", "-bsf:v", last]
    if codec == "libx264":  # it would take the ticks for the frame rate, and claim a level that few players decode
        options += ["-x264-params", f"fps={(len(durations) / ticks.seconds).limit_denominator(1000)}"]
    return options


def _tags(metadata: Mapping[str, str] | None) -> list[str]:
    if not metadata:
        return []
    return ["-metadata", encodable(f"comment={json.dumps(dict(metadata), ensure_ascii=False)}")]


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
