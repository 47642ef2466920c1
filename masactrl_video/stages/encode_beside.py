"""The output videos are encoded while the model goes on with later frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from masactrl_video.guidance.beside import GuidanceBeside
from masactrl_video.settings.settings import Settings
from masactrl_video.stages.clip import FittedClip
from masactrl_video.stages.encode import encode_result, encode_side_by_side
from masactrl_video.stages.outputs import Outputs

_LOOK_AGAIN_SECONDS = 0.1


class VideosBeside:
    """The result and the side-by-side, as far as frames are there; a frame that is not yet is waited for."""

    def __init__(
        self,
        settings: Settings,
        clip: FittedClip,
        guidance: Mapping[str, GuidanceBeside],
        outputs: Outputs,
        overwrite: bool,
        executor: ThreadPoolExecutor,
    ) -> None:
        """Begin; frames that are there must be whole."""
        self._paths = outputs.frames(len(clip))
        self._rendered, self._released, self._stopped = Event(), Event(), False
        self._side_by_side = (
            executor.submit(encode_side_by_side, settings, clip, guidance, self._arriving(), outputs)
            if settings.side_by_side
            else None
        )
        self._result = executor.submit(encode_result, settings, clip, self._held_back(), outputs, overwrite)

    def finish_side_by_side(self) -> None:
        """To be called when all frames are rendered: the side-by-side has its place, where one is wanted."""
        self._rendered.set()
        if self._side_by_side is not None:
            self._side_by_side.result()

    def finish_result(self) -> None:
        """To be called when everything else is there: the result has its place."""
        self._released.set()
        self._result.result()

    def stop(self) -> None:
        """Give up what is not whole; nothing of it stays."""
        self._stopped = True
        self._rendered.set()
        self._released.set()

    def _arriving(self) -> Iterator[Path]:
        for path in self._paths:
            while not (path.exists() or self._rendered.wait(_LOOK_AGAIN_SECONDS)):
                pass
            self._check()
            yield path

    def _held_back(self) -> Iterator[Path]:
        yield from self._arriving()
        self._released.wait()
        self._check()

    def _check(self) -> None:
        if self._stopped:
            raise CancelledError


@contextmanager
def videos_beside(
    settings: Settings, clip: FittedClip, guidance: Mapping[str, GuidanceBeside], outputs: Outputs, overwrite: bool
) -> Iterator[VideosBeside]:
    """Inside the context, `VideosBeside`; what is not finished when it ends is given up."""
    with ThreadPoolExecutor(2, thread_name_prefix="encode") as executor:
        videos = VideosBeside(settings, clip, guidance, outputs, overwrite, executor)
        try:
            yield videos
        finally:
            videos.stop()
