"""The output videos are encoded while the model goes on with later frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from masactrl_video.encode.video import VideoPlan
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
                encode_side_by_side, *about, self._guidance, self._arriving(), self._outputs, plan
            )
        self._videos["result"] = executor.submit(
            encode_result, *about, self._held_back(), self._outputs, overwrite, plan
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
