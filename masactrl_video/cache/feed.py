"""The steps of a cached source, there before the model needs them: read one step ahead, in a thread."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import torch

from masactrl_video.attention.recorded import StepRecord
from masactrl_video.cache.index import step_name
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.progress import carried


class SourceFeed:
    """A `RecordedSource` that reads the next step while the model works at the present one.

    A step that cannot be read raises where it is asked for, as `CachedSource.read` does.
    """

    def __init__(
        self, source: CachedSource, order: Sequence[int], memory_bytes: int, reader: ThreadPoolExecutor
    ) -> None:
        self.source = source
        self.is_held = len(order) > len(set(order)) and source_bytes(source, order) <= memory_bytes
        """Whether steps stay in memory: they come again, and all of them fit into it."""
        self.waited_seconds = 0.0
        """How long the model had to wait for steps, all together."""
        self.reads = 0
        """Steps read from the disk."""
        self._order, self._reader = iter(order), reader
        self._held: dict[int, StepRecord] = {}
        self._ahead: tuple[int, Future[StepRecord]] | None = None
        self._stream = torch.cuda.Stream(source.device) if source.device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._read_ahead()

    @property
    def timesteps(self) -> Sequence[float]:
        """Timestep of every denoising step, recorded or not."""
        return self.source.timesteps

    @property
    def steps(self) -> Sequence[int]:
        """Indices of the recorded steps."""
        return self.source.steps

    @property
    def layers(self) -> Sequence[str]:
        """Names of the recorded self-attention modules."""
        return self.source.layers

    @property
    def branches(self) -> Sequence[str]:
        """Order of the branches in keys and values."""
        return self.source.branches

    def read(self, step: int) -> StepRecord:
        """Everything recorded at `step`; another order than was said is slower, not wrong."""
        begun = time.perf_counter()
        record = self._held.get(step) or self._taken(step)
        self.waited_seconds += time.perf_counter() - begun
        if self.is_held:
            self._held[step] = record
        self._read_ahead()
        return record

    def figures(self) -> dict[str, float | bool]:
        """For the run's report."""
        return {
            "held_in_memory": self.is_held,
            "steps_read": self.reads,
            "waited_seconds": round(self.waited_seconds, 3),
        }

    def _taken(self, step: int) -> StepRecord:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == step:
            record = ahead[1].result()
        else:
            self.reads += 1
            record = self._load(step)
        for tensor in (*record.keys.values(), *record.values.values()) if self._stream is not None else ():
            tensor.record_stream(
                torch.cuda.current_stream(self.source.device)
            )  # made in another stream than it is used
        return record

    def _read_ahead(self) -> None:
        upcoming = next(self._order, None)
        if upcoming is not None and upcoming not in self._held:
            self.reads += 1
            self._ahead = (upcoming, self._reader.submit(carried(self._load), upcoming))

    def _load(self, step: int) -> StepRecord:
        if self._stream is None:
            return self.source.read(step)
        with torch.cuda.stream(self._stream):
            record = self.source.read(step)
        self._stream.synchronize()  # in the thread: whoever gets the record need not wait
        return record


@contextmanager
def reading_ahead(source: CachedSource, order: Sequence[int], memory_bytes: int = 0) -> Iterator[SourceFeed]:
    """Inside the context, the source's steps are read one ahead; on leaving, whatever happened, the thread has ended.

    Args:
        order: the steps as they will be asked for, again for every chunk of frames.
        memory_bytes: a source that fits into so many is read once and held, where its steps come again.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="cache") as reader:
        yield SourceFeed(source, order, memory_bytes, reader)


def source_bytes(source: CachedSource, steps: Sequence[int]) -> int:
    """Size on disk of some steps of a source."""
    return sum(source.entry.index.files[step_name(step)].bytes for step in set(steps))
