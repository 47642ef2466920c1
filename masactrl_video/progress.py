"""What a run says while it works: typed events, to whoever listens. And how another thread stops it.

Who starts a run listens with `watching`, and may stop it by the token of `stopped_by`. All that the run does finds both
in its context, and so need not hand them down; threads that the run starts get that context by `carried`. Two runs in
one process do not meet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from threading import Event as Flag
from typing import ParamSpec, TypeVar

_Item = TypeVar("_Item")
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False)
class Task:
    """Work of many equal steps; two of the same name are two."""

    name: str
    unit: str
    """What a step makes: "frame"."""
    total: int | None
    """Steps of the whole; None where nobody knows."""
    done_before: int = 0
    """Steps of an earlier run, which are not done again."""
    passing: bool = False
    """Whether nobody cares for it any more once it is done."""


@dataclass(frozen=True, eq=False)
class RenderTask(Task):
    """Frames that are rendered. A step is a denoising step of one frame."""

    frames: int = 0
    """Of the whole clip."""


@dataclass(frozen=True)
class TaskBegan:
    """Its first step comes."""

    task: Task


@dataclass(frozen=True)
class TaskAdvanced:
    """So many steps are done; fewer than before where some are done anew."""

    task: Task
    done: int


@dataclass(frozen=True)
class RenderProgress:
    """The state after one call of the denoiser."""

    frame: int
    """The last one that took the step, from 0."""
    frames: int
    """Of the whole clip."""
    step: int
    """Denoising step that it took, from 0."""
    steps: int
    seconds_left: float
    """By the pace so far."""


@dataclass(frozen=True)
class RenderAdvanced(TaskAdvanced):
    """A `RenderTask` advanced."""

    frames_done: int
    """Frames that took all their steps."""
    progress: RenderProgress | None
    """None at the begin of a chunk of frames."""


@dataclass(frozen=True)
class TaskEnded:
    """It is done, or given up."""

    task: Task


@dataclass(frozen=True)
class StageBegan:
    """A stage of the run begins."""

    stage: str


@dataclass(frozen=True)
class StageEnded:
    """It is done."""

    stage: str
    seconds: float
    """Wall-clock time."""


Event = TaskBegan | TaskAdvanced | TaskEnded | StageBegan | StageEnded
Listener = Callable[[Event], None]
"""Called in the thread where it happens, which may be another than the run's; what it raises stops the run."""

_LISTENERS: ContextVar[tuple[Listener, ...]] = ContextVar("listeners", default=())


@contextmanager
def watching(listener: Listener) -> Iterator[None]:
    """Inside the context, whatever is done is told to the listener; to those outside it too."""
    token = _LISTENERS.set((*_LISTENERS.get(), listener))
    try:
        yield
    finally:
        _LISTENERS.reset(token)


class Cancelled(BaseException):
    """The run was stopped by its token. Like Ctrl-C it is nobody's error, and no `except Exception` stops it."""


class CancelToken:
    """Stops a run from another thread."""

    def __init__(self) -> None:
        self._flag = Flag()

    def cancel(self) -> None:
        """Have the run stop at its next step, with `Cancelled`; what is done stays, and the same call goes on."""
        self._flag.set()

    @property
    def cancelled(self) -> bool:
        """Whether somebody has asked for it."""
        return self._flag.is_set()


_TOKENS: ContextVar[tuple[CancelToken, ...]] = ContextVar("tokens", default=())


@contextmanager
def stopped_by(token: CancelToken | None) -> Iterator[None]:
    """Inside the context, the token stops what is done; None: nothing does."""
    held = _TOKENS.set((*_TOKENS.get(), *([token] if token else [])))
    try:
        yield
    finally:
        _TOKENS.reset(held)


def check_cancelled() -> None:
    """Stop here if somebody asks for it.

    Raises:
        Cancelled: see `CancelToken`.
    """
    if any(token.cancelled for token in _TOKENS.get()):
        raise Cancelled("cancelled")


def emit(event: Event) -> None:
    """Tell those who listen."""
    for listener in _LISTENERS.get():
        listener(event)


@contextmanager
def telling(task: Task) -> Iterator[None]:
    """Inside the context, the task is done."""
    emit(TaskBegan(task))
    try:
        yield
    finally:
        emit(TaskEnded(task))


def counting(
    items: Iterable[_Item], name: str, unit: str, *, total: int | None = None, passing: bool = False
) -> Iterator[_Item]:
    """The items one by one, each a step of a task, between which it may be cancelled.

    Args:
        name: of the task.
        unit: what one item is.
        total: their number, where `items` does not know it.
        passing: see `Task`.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    task = Task(name, unit, total, passing=passing)
    with telling(task):
        check_cancelled()
        for done, item in enumerate(items, 1):
            check_cancelled()
            yield item
            emit(TaskAdvanced(task, done))


def carried(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """The function for one call in another thread, with the listeners and tokens of this one."""
    context = copy_context()

    def run(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        return context.run(function, *args, **kwargs)

    return run
