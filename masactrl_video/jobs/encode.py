"""Stage 6: the frames, the guidance and the side-by-side become videos with the clip's times and sound."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
from numpy.typing import NDArray

from masactrl_video.controls.clip import FittedClip
from masactrl_video.controls.extract import GuidanceBeside
from masactrl_video.encode.side_by_side import side_by_side
from masactrl_video.encode.video import AudioPlan, VideoPlan, encode_video, plan_video
from masactrl_video.errors import StorageError, UserError
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.progress import carried, check_cancelled
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.work_parts import OutputSettings
from masactrl_video.video.clip import Clip
from masactrl_video.video.png import png_bytes, read_png, whole_png


def encode_result(
    settings: Settings,
    clip: FittedClip,
    frames: Iterable[Path],
    outputs: Outputs,
    overwrite: bool,
    plan: VideoPlan | None = None,
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
        plan=plan,
    )


def plan_encoding(settings: Settings, clip: Clip, suffix: str, *, audio: bool) -> VideoPlan:
    """Find out, before any model is loaded, whether a video with the times and sound of `clip` can be made.

    What such a video does not keep of them is said here, once.

    Raises:
        UserError: ffmpeg is missing or too old; an encoder or pixel format that it does not have, or that does not fit
            the kind of video; frames that this kind cannot show so briefly; or sound that cannot be encoded.
    """
    if suffix.lower() == ".gif" and (settings.codec, settings.pix_fmt, settings.crf) != _DEFAULT_LOOK:
        raise UserError("codec, pix_fmt and crf have no effect on a GIF; leave them out, or take another kind of video")
    with _temporary_files():
        plan = _plan(settings, clip, suffix, audio)
    _encode_trial(settings, [(64, 64)], suffix)
    return plan


def check_sizes(settings: Settings, clip: FittedClip, suffix: str) -> None:
    """See that pictures as large as a clip's, and its side-by-side, can be encoded as the settings say.

    Raises:
        UserError: they cannot.
    """
    sizes_px = [clip.size_px]
    if settings.side_by_side:
        panels = [("", np.zeros((*clip.size_px, 3), np.uint8))] * (2 + len(settings.kinds))
        sizes_px.append(side_by_side(panels).shape[:2])
    _encode_trial(settings, sizes_px, suffix)


def _encode_trial(settings: OutputSettings, sizes_px: Iterable[tuple[int, ...]], suffix: str) -> None:
    """Encode a black picture of each (height, width)."""
    with _temporary_files(), tempfile.TemporaryDirectory(prefix="masactrl-video-") as folder:
        for size_px in sizes_px:
            video, picture = Path(folder) / f"trial{suffix}", png_bytes(np.zeros((*size_px, 3), np.uint8))
            codec, pix_fmt, crf = settings.codec, settings.pix_fmt, settings.crf
            try:
                encode_video([picture], [1.0], video, codec=codec, pix_fmt=pix_fmt, crf=crf, overwrite=True)
            except UserError as error:
                raise type(error)(str(error).replace(str(video), f"a {suffix} file")) from error


@contextmanager
def _temporary_files() -> Iterator[None]:
    """Say what to do where none can be made."""
    try:
        yield
    except OSError as error:
        place = tempfile.gettempdir()
        raise StorageError(
            f"the folder for temporary files, {place}, cannot be written ({error.strerror}); mend that, or set TMPDIR "
            "to another: the same command then goes on"
        ) from error


_DEFAULT_LOOK = tuple(Settings.model_fields[name].default for name in ("codec", "pix_fmt", "crf"))


def encode_guidance(
    settings: Settings, clip: FittedClip, pictures: Iterable[Path], output: Path, plan: VideoPlan | None = None
) -> None:
    """A control's guidance pictures as a video beside the result."""
    silent = None if plan is None else replace(plan, audio=AudioPlan())
    encode_frames_like(
        settings, clip.clip, _whole(pictures), output, audio=False, metadata={}, overwrite=True, plan=silent
    )


def encode_side_by_side(
    settings: Settings,
    clip: FittedClip,
    guidance: Mapping[str, GuidanceBeside],
    frames: Iterable[Path],
    outputs: Outputs,
    plan: VideoPlan | None = None,
) -> None:
    """Clip, guidance and result next to each other, frame by frame."""
    pictures = (
        png_bytes(side_by_side([("clip", original), *_panels(guidance, index), ("result", read_png(result))]))
        for index, (result, original) in enumerate(zip(frames, clip, strict=True))
    )
    encode_frames_like(
        settings,
        clip.clip,
        pictures,
        outputs.side_by_side,
        audio=settings.audio,
        metadata={},
        overwrite=True,
        plan=plan,
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
    plan: VideoPlan | None = None,
) -> None:
    """PNG files' contents as a video with the times of `clip` and, with `audio`, its sound.

    Args:
        plan: see `plan_encoding`; by default it is made now.
    """
    encode_video(
        pictures,
        [timing.duration_seconds for timing in clip.timeline()],
        output,
        codec=settings.codec,
        pix_fmt=settings.pix_fmt,
        crf=settings.crf,
        metadata=metadata,
        overwrite=overwrite,
        plan=plan or _plan(settings, clip, output.suffix, audio),
    )


def _plan(settings: Settings, clip: Clip, suffix: str, audio: bool) -> VideoPlan:
    timeline = clip.timeline()
    return plan_video(
        [timing.duration_seconds for timing in timeline],
        suffix,
        audio_from=settings.clip if audio and clip.info.has_audio else None,
        audio_start_seconds=timeline[0].start_seconds,
    )


_LOOK_AGAIN_SECONDS = 0.1


class VideosBeside:
    """The result and the side-by-side, as far as frames are there; a frame that is not yet is waited for."""

    def __init__(
        self,
        settings: Settings,
        clip: FittedClip,
        guidance: Mapping[str, GuidanceBeside],
        outputs: Outputs,
        plan: VideoPlan | None,
    ) -> None:
        self._settings, self._clip, self._guidance, self._outputs = settings, clip, guidance, outputs
        self._plan = plan
        self._rendered, self._released, self._stopped = Event(), Event(), False
        self._videos: dict[str, Future[None]] = {}

    def begin(self, executor: Executor, overwrite: bool) -> None:
        """Encode in two threads of `executor`; frames that are there must be whole."""
        about, plan = (self._settings, self._clip), self._plan
        if self._settings.side_by_side:
            self._videos["side-by-side"] = executor.submit(
                carried(encode_side_by_side), *about, self._guidance, self._arriving(), self._outputs, plan
            )
        self._videos["result"] = executor.submit(
            carried(encode_result), *about, self._held_back(), self._outputs, overwrite, plan
        )

    def check(self) -> None:
        """Raise what one of them has failed with."""
        for video in self._videos.values():
            if video.done():
                video.result()

    def finish_side_by_side(self) -> None:
        """To be called when all frames are rendered: the side-by-side has its place, where one is wanted."""
        self._rendered.set()
        if "side-by-side" in self._videos:
            self._videos["side-by-side"].result()

    def finish_result(self) -> None:
        """To be called when everything else is there: the result has its place."""
        self._released.set()
        self._videos["result"].result()

    def stop(self) -> None:
        """Give up what is not whole, and the guidance that it waits for; nothing of it stays."""
        self._stopped = True
        self._rendered.set()
        self._released.set()
        for pictures in self._guidance.values():
            pictures.stop()

    def _arriving(self) -> Iterator[Path]:
        for path in self._outputs.frames(len(self._clip)):
            while not (path.exists() or self._rendered.wait(_LOOK_AGAIN_SECONDS)):
                pass
            self._check_goes_on()
            yield path
        self._rendered.wait()  # frames of an interrupted run may yet be refused
        self._check_goes_on()

    def _held_back(self) -> Iterator[Path]:
        yield from self._arriving()
        self._released.wait()
        self._check_goes_on()

    def _check_goes_on(self) -> None:
        check_cancelled()
        if self._stopped:
            raise CancelledError


@contextmanager
def videos_beside(
    settings: Settings,
    clip: FittedClip,
    guidance: Mapping[str, GuidanceBeside],
    outputs: Outputs,
    overwrite: bool,
    plan: VideoPlan | None = None,
) -> Iterator[VideosBeside]:
    """Inside the context, `VideosBeside`; what is not finished when it ends is given up.

    Args:
        plan: see `plan_encoding`; by default it is made when the first frame is there.
    """
    with ThreadPoolExecutor(2, thread_name_prefix="encode") as executor:
        videos = VideosBeside(settings, clip, guidance, outputs, plan)
        try:
            videos.begin(executor, overwrite)
            yield videos
        finally:
            videos.stop()
