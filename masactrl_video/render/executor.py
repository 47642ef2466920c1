"""Who renders the chunks of a plan: this process, or whoever else keeps to `Executor`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any, Protocol

from masactrl_video.progress import CancelToken, stopped_by
from masactrl_video.render.chunks import one_behind
from masactrl_video.render.frames import FramesJob
from masactrl_video.render.plan import Chunk, ChunkResult, RenderPlan
from masactrl_video.render.steps import RenderSteps
from masactrl_video.render.worker import ChunkWorker


class Executor(Protocol):
    """Renders chunks; what it needs is open inside its context."""

    def map_unordered(self, chunks: Iterable[Chunk], /) -> Iterator[ChunkResult]:
        """The result of each chunk as it comes."""

    def cancel(self) -> None:
        """Have `map_unordered` stop soon, with `Cancelled`; to be called by any thread."""

    def figures(self) -> dict[str, Any]:
        """What the report says of it beside the frames."""


StartExecutor = Callable[[RenderPlan, FramesJob, RenderSteps], AbstractContextManager[Executor]]
"""Takes a plan, what its owner has open for it, and what is to be told of every step."""


class LocalExecutor:
    """Renders in this process, chunk by chunk in the thread that asks for the results."""

    def __init__(self, plan: RenderPlan, job: FramesJob | None = None, progress: RenderSteps | None = None) -> None:
        self._worker = ChunkWorker(plan, job=job, progress=progress)
        self._token, self._open = CancelToken(), ExitStack()

    def __enter__(self) -> LocalExecutor:
        with ExitStack() as stack:
            stack.enter_context(stopped_by(self._token))
            stack.enter_context(self._worker)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def map_unordered(self, chunks: Iterable[Chunk], /) -> Iterator[ChunkResult]:
        """The result of each chunk while the next one is rendered, in order."""
        return one_behind(self._worker.renderer.begin, map(self._worker.prepare, chunks))

    def cancel(self) -> None:
        """Have it stop at the next step; pictures that are made are still written."""
        self._token.cancel()

    def figures(self) -> dict[str, Any]:
        """Nothing: the report has it all."""
        return {}
