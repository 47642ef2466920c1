"""Stage 6: the frames, the guidance and the side-by-side become videos with the clip's times and sound."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from masactrl_video.encode.container import container_for
from masactrl_video.encode.side_by_side import side_by_side
from masactrl_video.encode.video import encode_video
from masactrl_video.errors import StorageError, UserError
from masactrl_video.guidance.beside import GuidanceBeside
from masactrl_video.settings.settings import Settings
from masactrl_video.stages.clip import FittedClip
from masactrl_video.stages.outputs import Outputs
from masactrl_video.video.clip import Clip
from masactrl_video.video.png import png_bytes, read_png, whole_png


def encode_result(
    settings: Settings, clip: FittedClip, frames: Iterable[Path], outputs: Outputs, overwrite: bool
) -> None:
    """The rendered frames as the output video."""
    metadata = {"masactrl-video": json.dumps(settings.as_yaml_data(), ensure_ascii=False)}
    encode_frames_like(
        settings,
        clip.clip,
        _whole(frames),
        outputs.video,
        audio=settings.audio,
        metadata=metadata,
        overwrite=overwrite,
    )


def check_encoding(settings: Settings, clip: FittedClip, suffix: str) -> None:
    """See that pictures like a clip's can be encoded as the settings say: its times, and one picture for a trial.

    Raises:
        UserError: an encoder or pixel format that ffmpeg does not have, or that does not fit the kind of video; or
            frames that this kind cannot show so briefly.
    """
    if suffix.lower() == ".gif" and (settings.codec, settings.pix_fmt, settings.crf) != _DEFAULT_LOOK:
        raise UserError("codec, pix_fmt and crf have no effect on a GIF; leave them out, or take another kind of video")
    container_for(Path(f"video{suffix}")).ticks([timing.duration_seconds for timing in clip.clip.timeline()])
    try:
        with tempfile.TemporaryDirectory(prefix="masactrl-video-") as folder:
            _encode_trial(settings, np.zeros((*clip.size_px, 3), np.uint8), Path(folder) / f"trial{suffix}")
    except OSError as error:
        place = tempfile.gettempdir()
        raise StorageError(
            f"the folder for temporary files, {place}, cannot be written ({error.strerror}); mend that, or set TMPDIR "
            "to another: the same command then goes on"
        ) from error


def _encode_trial(settings: Settings, picture: NDArray[np.uint8], video: Path) -> None:
    try:
        encode_video(
            [png_bytes(picture)], [1.0], video, codec=settings.codec, pix_fmt=settings.pix_fmt, crf=settings.crf
        )
    except UserError as error:
        raise type(error)(str(error).replace(str(video), f"a {video.suffix} file")) from error


_DEFAULT_LOOK = tuple(Settings.model_fields[name].default for name in ("codec", "pix_fmt", "crf"))


def encode_guidance(settings: Settings, clip: FittedClip, pictures: Iterable[Path], output: Path) -> None:
    """A control's guidance pictures as a video beside the result."""
    encode_frames_like(settings, clip.clip, _whole(pictures), output, audio=False, metadata={}, overwrite=True)


def encode_side_by_side(
    settings: Settings,
    clip: FittedClip,
    guidance: Mapping[str, GuidanceBeside],
    frames: Iterable[Path],
    outputs: Outputs,
) -> None:
    """Clip, guidance and result next to each other, frame by frame."""
    pictures = (
        png_bytes(side_by_side([("clip", original), *_panels(guidance, index), ("result", read_png(result))]))
        for index, (result, original) in enumerate(zip(frames, clip, strict=True))
    )
    encode_frames_like(
        settings, clip.clip, pictures, outputs.side_by_side, audio=settings.audio, metadata={}, overwrite=True
    )


def _panels(guidance: Mapping[str, GuidanceBeside], index: int) -> list[tuple[str, NDArray[np.uint8]]]:
    return [(name, kind[index]) for name, kind in guidance.items()]


def _whole(paths: Iterable[Path]) -> Iterator[bytes]:
    for path in paths:
        try:
            yield whole_png(path)
        except UserError as error:
            raise UserError(f"{error}; remove it, and the same command makes it anew") from error


def encode_frames_like(
    settings: Settings,
    clip: Clip,
    pictures: Iterable[bytes],
    output: Path,
    *,
    audio: bool,
    metadata: dict[str, str],
    overwrite: bool,
) -> None:
    """PNG files' contents as a video with the times of `clip` and, with `audio`, its sound."""
    timeline = clip.timeline()
    encode_video(
        pictures,
        [timing.duration_seconds for timing in timeline],
        output,
        audio_from=settings.clip if audio and clip.info.has_audio else None,
        audio_start_seconds=timeline[0].start_seconds,
        codec=settings.codec,
        pix_fmt=settings.pix_fmt,
        crf=settings.crf,
        metadata=metadata,
        overwrite=overwrite,
    )
