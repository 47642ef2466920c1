"""Workers that compute nothing: they answer after a while, or die, as a test says. No cluster is needed for them."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from threading import Condition, Thread
from typing import Any

from masactrl_video.engines.handing import StepsTaken
from masactrl_video.render.plan import Chunk, ChunkResult, WrittenFile


class Clock:
    """Answers futures at their time, in one thread for any number of workers."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._change, self._number, self._ended = Condition(), itertools.count(), False
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        with self._change:
            heapq.heappush(self._due, (time.perf_counter() + seconds, next(self._number), act))
            self._change.notify()

    def end(self) -> None:
        with self._change:
            self._ended = True
            self._change.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._change:
                while not self._ended and not (self._due and self._due[0][0] <= time.perf_counter()):
                    self._change.wait(self._due[0][0] - time.perf_counter() if self._due else None)
                if self._ended:
                    return
                act = heapq.heappop(self._due)[2]
            act()


class FakeWorker:
    """Sleeps for each chunk, by the clock."""

    def __init__(self, clock: Clock, name: str = "a", seconds: float = 0.0) -> None:
        self._clock, self.name, self._seconds = clock, name, seconds
        self.chunks: list[Chunk] = []
        self.is_killed = False

    def begin(self) -> Future[str]:
        return self._later(0.0, lambda: self.name)

    def run(self, chunk: Chunk, /) -> Future[Callable[[], ChunkResult]]:
        self.chunks.append(chunk)
        return self._later(self._seconds, lambda: lambda: result_of(chunk, self._seconds))

    def steps(self) -> Future[StepsTaken]:
        return self._later(0.0, lambda: StepsTaken(1, self.chunks[-1].batches[0][0], 0))

    def kill(self) -> None:
        self.is_killed = True

    def _later(self, seconds: float, answer: Callable[[], Any]) -> Future[Any]:
        """Answers then; what `answer` raises is what the future raises."""
        future: Future[Any] = Future()

        def act() -> None:
            try:
                future.set_result(answer())
            except Exception as error:
                future.set_exception(error)

        self._clock.after(seconds, act)
        return future


def result_of(chunk: Chunk, seconds: float = 0.0) -> ChunkResult:
    frames = [frame for batch in chunk.ranges() for frame in batch]
    files = tuple(WrittenFile(path=Path(f"/frames/{frame:06d}.png"), sha256="0") for frame in frames)
    return ChunkResult(files=files, batch_size=1, frames_rendered=len(frames), seconds=seconds)


def chunks_of(count: int, frames: int = 1) -> list[Chunk]:
    return [Chunk(batches=((first * frames, (first + 1) * frames),)) for first in range(count)]


def frames_in(results: list[ChunkResult]) -> list[int]:
    return sorted(int(file.path.stem) for result in results for file in result.files)
