"""What a run says while it works: typed events, to whoever listens.

Who starts a run listens with `watching`. All that the run does finds the listeners in its context, and so need not hand
them down; threads that the run starts get that context by `carried`. Two runs in one process do not hear each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
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
class RenderAdvanced(TaskAdvanced):
    """A `RenderTask` advanced."""

    frames_done: int
    """Frames that took all their steps."""
    step: int | None
    """The denoising step that was done, from 0; None at the begin of a chunk of frames."""
    steps: int
    """Denoising steps of a frame."""


@dataclass(frozen=True)
class TaskEnded:
    """It is done, or given up."""

    task: Task


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
class StageBegan:
    """A stage of the run begins."""

    stage: str


@dataclass(frozen=True)
class StageEnded:
    """It is done."""

    stage: str
    seconds: float
    """Wall-clock time."""


Event = TaskBegan | TaskAdvanced | TaskEnded | RenderProgress | StageBegan | StageEnded
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
    """The items one by one, each a step of a task.

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
        for done, item in enumerate(items, 1):
            yield item
            emit(TaskAdvanced(task, done))


def carried(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """The function for one call in another thread, with the listeners of this one."""
    context = copy_context()

    def run(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        return context.run(function, *args, **kwargs)

    return run
