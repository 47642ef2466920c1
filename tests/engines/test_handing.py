"""Chunks go to whoever is free, and those of a worker that dies to another; nothing here needs a cluster."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from threading import Timer
from typing import Any

import pytest
from engines.fakes import Clock, FakeWorker, chunks_of, frames_in

from masactrl_video.engines.handing import Handing, NodeFault, WorkerLost
from masactrl_video.errors import UserError
from masactrl_video.progress import Cancelled, CancelToken, RenderProgress, stopped_by
from masactrl_video.render.plan import Chunk, ChunkResult
from masactrl_video.render.steps import RenderSteps


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    yield clock
    clock.end()


def handing(workers: list[FakeWorker], told: list[RenderProgress] | None = None, **changes: Any) -> Handing:
    """Hands out to these workers, and to no more."""
    left = list(workers)

    def hire(there: int) -> list[FakeWorker]:
        hired, left[:] = left[:], []
        return hired

    tell = told.append if told is not None else lambda progress: None
    return Handing(hire, RenderSteps(100, 100, 2, tell), 2, **changes)


class Failing(FakeWorker):
    """Fails at the chunk of some number, once."""

    def __init__(self, clock: Clock, error: Exception, at: int = 0, **more: Any) -> None:
        super().__init__(clock, **more)
        self._error, self._at = error, at

    def run(self, chunk: Chunk, /) -> Future[Callable[[], ChunkResult]]:
        if len(self.chunks) == self._at:
            self.chunks.append(chunk)
            return self._later(0.01, self._fail)
        return super().run(chunk)

    def _fail(self) -> Any:
        raise self._error


class NeverBegins(FakeWorker):
    def __init__(self, clock: Clock, fault: str) -> None:
        super().__init__(clock)
        self._fault = fault

    def begin(self) -> Future[str]:
        def fail() -> str:
            raise NodeFault(self._fault)

        return self._later(0.0, fail)


def test_every_chunk_comes_once_and_the_faster_worker_gets_more(clock: Clock) -> None:
    workers = [FakeWorker(clock, "slow", 0.1), FakeWorker(clock, "fast", 0.01)]
    hands = handing(workers)
    results = list(hands.map_unordered(chunks_of(20)))
    assert frames_in(results) == list(range(20))
    slow, fast = sorted(hands.figures, key=lambda figures: figures.chunks)
    assert slow.node == "slow" and fast.node == "fast" and fast.frames > 2 * slow.frames
    hands.stop()
    assert all(worker.is_killed for worker in workers)


def test_a_lost_workers_chunk_is_anothers_and_no_other_is_rendered_twice(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    dies, lives = Failing(clock, WorkerLost("killed"), at=1, name="b", seconds=0.01), FakeWorker(clock, seconds=0.01)
    results = list(handing([dies, lives]).map_unordered(chunks_of(10)))
    assert frames_in(results) == list(range(10))
    assert len(dies.chunks) == 2 and dies.is_killed
    assert sorted(dies.chunks[:1] + lives.chunks, key=str) == sorted(chunks_of(10), key=str)
    assert "a worker on b is lost (killed)" in caplog.text


def test_a_worker_that_joins_late_gets_work(clock: Clock) -> None:
    first, late = FakeWorker(clock, seconds=0.05), FakeWorker(clock, "late", 0.05)
    begun = time.perf_counter()

    def hire(there: int) -> list[FakeWorker]:
        if there == 0:
            return [first]
        return [late] if there == 1 and time.perf_counter() - begun > 0.5 else []

    results = list(Handing(hire, RenderSteps(80, 80, 2), 2).map_unordered(chunks_of(80)))
    assert frames_in(results) == list(range(80))
    assert len(late.chunks) > 5


def test_a_faulty_node_is_named_once_and_the_others_go_on(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    bad = [NeverBegins(clock, "node x (10.0.0.1): no such model: ./m") for _ in range(2)]
    assert len(list(handing([*bad, FakeWorker(clock)]).map_unordered(chunks_of(3)))) == 3
    assert caplog.text.count("node x (10.0.0.1): no such model: ./m; the others go on without it") == 1


def test_when_every_node_is_faulty_the_first_fault_is_the_error(clock: Clock) -> None:
    hands = handing([NeverBegins(clock, "node x: no such model"), NeverBegins(clock, "node y: no such model")])
    with pytest.raises(NodeFault, match=r"node [xy]: no such model"):
        list(hands.map_unordered(chunks_of(3)))


def test_what_nobody_can_render_ends_the_run(clock: Clock) -> None:
    worker = Failing(clock, UserError("node x: frame 3: numbers are not finite"))
    with pytest.raises(UserError, match="numbers are not finite"):
        list(handing([worker]).map_unordered(chunks_of(3)))


def test_a_chunk_that_kills_every_worker_is_given_up(clock: Clock) -> None:
    workers = [Failing(clock, WorkerLost("killed")) for _ in range(3)]
    with pytest.raises(UserError, match="3 workers were lost on frames 0 to 3, the last one: killed"):
        list(handing(workers).map_unordered(chunks_of(1, frames=4)))


def test_a_worker_that_does_not_answer_is_ended_and_its_chunk_handed_on(clock: Clock) -> None:
    class Silent(FakeWorker):
        def run(self, chunk: Chunk, /) -> Future[Any]:
            self.chunks.append(chunk)
            return Future()

        def steps(self) -> Future[Any]:
            return Future()

    silent, other = Silent(clock), FakeWorker(clock, seconds=0.01)
    results = list(handing([silent, other], lost_seconds=0.2).map_unordered(chunks_of(4)))
    assert frames_in(results) == [0, 1, 2, 3]
    assert silent.is_killed


def test_progress_of_all_is_one_and_never_more_than_there_is(clock: Clock) -> None:
    told: list[RenderProgress] = []
    workers = [FakeWorker(clock, str(number), 0.3) for number in range(3)]
    list(handing(workers, told).map_unordered(chunks_of(9)))
    assert {progress.step for progress in told} == {0, 1}
    assert told[-1].frames == 100 and len(told) > 9


@pytest.mark.parametrize("workers", [0, 1])
def test_it_stops_at_once_when_it_is_cancelled(workers: int, clock: Clock) -> None:
    token, begun = CancelToken(), time.perf_counter()
    Timer(0.2, token.cancel).start()
    hands = handing([FakeWorker(clock, seconds=60)] * workers)
    with stopped_by(token), pytest.raises(Cancelled):
        list(hands.map_unordered(chunks_of(3)))
    assert time.perf_counter() - begun < 5


def test_it_says_why_nobody_begins(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    token = CancelToken()
    Timer(1.0, token.cancel).start()
    hands = handing([], waiting_seconds=0.1, why_waiting=lambda: "the cluster has 0 GPUs")
    with stopped_by(token), pytest.raises(Cancelled), caplog.at_level(logging.WARNING):
        list(hands.map_unordered(chunks_of(1)))
    assert caplog.text.count("no worker has begun for 0 s; it is waited for: the cluster has 0 GPUs") == 1


@pytest.mark.long
def test_two_sleeping_workers_are_twice_as_fast_as_one(clock: Clock) -> None:
    """The work waits instead of computing, so that only what handing costs is measured."""

    def seconds(count: int) -> float:
        begun = time.perf_counter()
        list(handing([FakeWorker(clock, seconds=0.1) for _ in range(count)]).map_unordered(chunks_of(20)))
        return time.perf_counter() - begun

    assert max(seconds(1) / (2 * seconds(2)) for _ in range(3)) > 0.95
