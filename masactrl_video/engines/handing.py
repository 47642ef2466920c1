"""Chunks handed to workers as these come free, whatever the workers are; what a worker that dies had is handed on."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from masactrl_video.errors import UserError, counted
from masactrl_video.progress import check_cancelled
from masactrl_video.render.plan import Chunk

logger = logging.getLogger(__name__)

_LOOK_UP_SECONDS = 0.2
"""How long nothing may come before it is seen whether the run is to stop."""
_HIRE_SECONDS = 2.0
_ASKED_A_SECOND = 32
"""Workers are asked how far they are once a second; when there are more than so many, less often."""
_MOST_TRIES = 3
"""A chunk on which so many workers were lost is given up."""


class NodeFault(UserError):  # noqa: N818, what it says is the node's state
    """A worker cannot work on its node; others may. The message names the node."""


class WorkerLost(Exception):  # noqa: N818, an event
    """A worker is gone, and nothing is known of its chunk."""


class StepsTaken(NamedTuple):
    """How far a worker is with its chunk."""

    taken: int = 0
    """Denoising steps of all its frames."""
    frame: int = 0
    """The last one that took a step."""
    step: int = 0
    """Which one that was."""


class Done(Protocol):
    """What comes of a chunk."""

    @property
    def frames_rendered(self) -> int:
        """How many pictures were made for it."""

    @property
    def seconds(self) -> float:
        """Of work at it."""


class Progress(Protocol):
    """Who is told how far all are, such as `RenderSteps`."""

    def taken_elsewhere(self, steps: int, frames_done: int, frame: int, step: int) -> None:
        """So many steps are taken in all; the frame that took the last one, and which that was."""


_Done = TypeVar("_Done", bound=Done)


class Worker(Protocol[_Done]):
    """Renders chunks elsewhere, one at a time. What it answers with may be NodeFault or WorkerLost."""

    def begin(self) -> Future[str]:
        """Load what the plan needs; the name of its node when that is done."""

    def run(self, chunk: Chunk, /) -> Future[Callable[[], _Done]]:
        """Render a chunk; what comes is to be called, in the thread of the run, when the next chunk is handed out."""

    def steps(self) -> Future[StepsTaken]:
        """How far it is; answers at any time."""

    def kill(self) -> None:
        """End it at once."""


@dataclass
class WorkerFigures:
    """What a worker did, for the report."""

    node: str = ""
    chunks: int = 0
    frames: int = 0
    seconds: float = 0.0
    """Of work at chunks, as it has measured them."""
    waiting_seconds: float = 0.0
    """Without a chunk, or for a chunk to come and go."""


class _Hand:
    """A worker, and what it has in hand."""

    def __init__(self, worker: Worker[Any]) -> None:
        self.worker, self.figures = worker, WorkerFigures()
        self.chunk: Chunk | None = None
        self.ready_seconds: float | None = None
        self.asked_seconds: float | None = None
        self.steps = StepsTaken()
        self.gone = False


class _Event(NamedTuple):
    hand: _Hand
    about: str
    answer: Future[Any]


def _frames_of(chunk: Chunk) -> str:
    return f"frames {chunk.batches[0][0]} to {chunk.batches[-1][1] - 1}"


class Handing(Generic[_Done]):
    """Hands out the chunks of a plan. All that is said of time is by the clock of this process."""

    def __init__(
        self,
        hire: Callable[[int], Sequence[Worker[_Done]]],
        progress: Progress,
        steps: int,
        *,
        lost_seconds: float = 60.0,
        waiting_seconds: float = 60.0,
        why_waiting: Callable[[], str] = lambda: "",
        called: Callable[[Chunk], str] = _frames_of,
    ) -> None:
        """Begin nothing yet.

        Args:
            hire: takes how many workers there are, those of faulty nodes too; more of them, if there is room.
            steps: denoising steps of a frame.
            lost_seconds: a worker that does not answer for so long is given up.
            waiting_seconds: when nobody has begun for so long, that is warned of.
            why_waiting: what is said then.
            called: how a message names a chunk.
        """
        self._hire, self._progress, self._steps = hire, progress, steps
        self._lost_seconds, self._waiting_seconds, self._why = lost_seconds, waiting_seconds, why_waiting
        self._called = called
        self._events: SimpleQueue[_Event] = SimpleQueue()
        self._hands: dict[_Hand, None] = {}
        self._turns: deque[_Hand] = deque()
        self._idle: deque[_Hand] = deque()
        self._todo: deque[Chunk] = deque()
        self._lost: Counter[Chunk] = Counter()
        self._faults: list[NodeFault] = []
        self._figures: list[WorkerFigures] = []
        self._open, self._steps_sure, self._steps_partial, self._frames_sure = 0, 0, 0, 0
        self._next_hire_seconds = self._next_ask_seconds = 0.0

    @property
    def figures(self) -> list[WorkerFigures]:
        """Of every worker that has begun."""
        now = time.perf_counter()
        for hand in self._hands:
            _count_waiting(hand, now)
        return self._figures

    def map_unordered(self, chunks: Iterable[Chunk], /) -> Iterator[_Done]:
        """The result of each chunk as it comes.

        Raises:
            UserError: a chunk cannot be rendered by anybody, or there is nobody to do it.
        """
        self._todo.extend(chunks)
        self._open = len(self._todo)
        begun_seconds, warned = time.perf_counter(), False
        while self._open:
            check_cancelled()
            now = time.perf_counter()
            if now >= self._next_hire_seconds:
                self._hire_more(now)
            if not warned and not self._figures and now - begun_seconds > self._waiting_seconds:
                warned = True
                logger.warning("no worker has begun for %.0f s; it is waited for: %s", now - begun_seconds, self._why())
            self._ask_in_turn(now)
            self._hand_out()
            try:
                event = self._events.get(timeout=_LOOK_UP_SECONDS)
            except Empty:
                continue
            pending = None if event.hand.gone else self._take(event)
            self._hand_out()  # before the result is taken over: the worker need not wait for that
            if pending is not None:
                yield self._finish(event.hand.figures, pending())

    def stop(self) -> None:
        """End all workers."""
        for hand in list(self._hands):
            self._drop(hand)

    def _hire_more(self, now: float) -> None:
        self._next_hire_seconds = now + _HIRE_SECONDS
        hired = self._hire(len(self._hands) + len(self._faults))
        for worker in hired:
            hand = _Hand(worker)
            self._hands[hand] = None
            self._listen(hand, "begin", worker.begin())
        if not self._hands and self._faults and not hired:
            raise self._faults[0]

    def _listen(self, hand: _Hand, about: str, answer: Future[Any]) -> None:
        answer.add_done_callback(lambda done: self._events.put(_Event(hand, about, done)))

    def _hand_out(self) -> None:
        while self._todo and self._idle:
            hand = self._idle.popleft()
            if hand.gone:
                continue
            hand.chunk, hand.steps = self._todo.popleft(), StepsTaken()
            self._listen(hand, "run", hand.worker.run(hand.chunk))

    def _take(self, event: _Event) -> Callable[[], _Done] | None:
        hand = event.hand
        try:
            answer = event.answer.result()
        except (WorkerLost, NodeFault) as error:
            self._give_up(hand, error)
            return None
        if event.about == "begin":
            hand.figures.node, hand.ready_seconds = answer, time.perf_counter()
            self._figures.append(hand.figures)
            self._idle.append(hand)
            self._turns.append(hand)
            logger.debug("worker %d begins on %s", len(self._figures), answer)
            return None
        if event.about == "steps":
            hand.asked_seconds = None
            self._advance(hand, answer)
            return None
        self._count_done(hand)
        pending: Callable[[], _Done] = answer
        return pending

    def _count_done(self, hand: _Hand) -> None:
        assert hand.chunk is not None
        frames, hand.chunk = sum(end - first for first, end in hand.chunk.batches), None
        self._open -= 1
        self._steps_partial -= hand.steps.taken
        self._steps_sure += frames * self._steps
        self._frames_sure += frames
        last = hand.steps.frame
        hand.steps = StepsTaken()
        self._tell(last, self._steps - 1)
        self._idle.append(hand)

    def _finish(self, figures: WorkerFigures, result: _Done) -> _Done:
        figures.chunks += 1
        figures.frames += result.frames_rendered
        figures.seconds = round(figures.seconds + result.seconds, 3)
        return result

    def _advance(self, hand: _Hand, steps: StepsTaken) -> None:
        if hand.chunk is None or steps == hand.steps:
            return
        self._steps_partial += steps.taken - hand.steps.taken
        hand.steps = steps
        self._tell(steps.frame, steps.step)

    def _tell(self, frame: int, step: int) -> None:
        self._progress.taken_elsewhere(self._steps_sure + self._steps_partial, self._frames_sure, frame, step)

    def _ask_in_turn(self, now: float) -> None:
        """One worker after another, so that many of them cost no more than a few do."""
        if not self._turns or now < self._next_ask_seconds:
            return
        self._next_ask_seconds = now + max(1 / len(self._turns), 1 / _ASKED_A_SECOND)
        hand = self._turns.popleft()
        if hand.gone:
            return
        self._turns.append(hand)
        if hand.chunk is None:
            return
        if hand.asked_seconds is None:
            hand.asked_seconds = now
            self._listen(hand, "steps", hand.worker.steps())
        elif now - hand.asked_seconds > self._lost_seconds:
            self._give_up(hand, WorkerLost(f"it has not answered for {self._lost_seconds:.0f} s"))

    def _give_up(self, hand: _Hand, error: Exception) -> None:
        """End a worker; its chunk is another's."""
        chunk, node = hand.chunk, hand.figures.node
        self._steps_partial -= hand.steps.taken
        self._drop(hand)
        if isinstance(error, NodeFault):
            if str(error) not in map(str, self._faults):
                logger.warning("%s; the others go on without it", error)
            self._faults.append(error)
        else:
            logger.warning("a worker%s is lost (%s)", f" on {node}" if node else "", error)
            self._next_hire_seconds = max(self._next_hire_seconds, time.perf_counter() + _HIRE_SECONDS / 2)
        if chunk is None:
            return
        self._lost[chunk] += 1
        if self._lost[chunk] >= _MOST_TRIES:
            workers = counted(_MOST_TRIES, "worker")
            raise UserError(f"{workers} were lost on {self._called(chunk)}, the last one: {error}")
        self._todo.appendleft(chunk)

    def _drop(self, hand: _Hand) -> None:
        if hand.ready_seconds is not None:
            _count_waiting(hand, time.perf_counter())
        hand.gone, hand.chunk, hand.steps = True, None, StepsTaken()
        self._hands.pop(hand, None)
        hand.worker.kill()


def _count_waiting(hand: _Hand, now: float) -> None:
    """What of its time until now was not work. A chunk in hand counts as waiting, for it is not known otherwise."""
    if hand.ready_seconds is not None and not hand.gone:
        hand.figures.waiting_seconds = round(max(0.0, now - hand.ready_seconds - hand.figures.seconds), 3)
