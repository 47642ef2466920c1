"""How far a job is, from what it tells."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from masactrl_video.progress import (
    Event,
    RenderAdvanced,
    RenderTask,
    StageBegan,
    StageEnded,
    Task,
    TaskAdvanced,
    TaskBegan,
    TaskEnded,
)


@dataclass(frozen=True)
class Progress:
    """A moment of a job that runs."""

    stage: str = ""
    stages: tuple[tuple[str, float], ...] = ()
    """Those that are done, with the seconds they took."""
    doing: str = ""
    """The work that was told of last: "guidance (canny)"."""
    done: float = 0
    total: float = 0
    """Of that work; 0 where nobody knows."""
    frames_done: int | None = None
    frames: int = 0
    step: int | None = None
    """Of denoising, from 1."""
    steps: int = 0
    seconds_left: float | None = None
    began: float = field(default_factory=time.monotonic)

    @property
    def part(self) -> float | None:
        """Of the work at hand, 0 to 1; None where nobody knows."""
        return min(1.0, self.done / self.total) if self.total else None


class Follower:
    """Listens to a job in its threads, and is asked by others."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._now = Progress()
        self._tasks: list[Task] = []

    def now(self) -> Progress:
        """The present moment."""
        with self._lock:
            return self._now

    def __call__(self, event: Event) -> None:
        """Take an event of the job; hand it to `progress.watching`."""
        with self._lock:
            self._now = self._after(event)

    def tell(self, fact: dict[str, Any]) -> None:
        """Take what a job tells as plain data: pictures and panels that are done."""
        for one, many in (("picture", "pictures"), ("panel", "panels")):
            if one in fact and many in fact:
                with self._lock:
                    self._now = replace(self._now, doing=many, done=fact[one], total=fact[many])

    def _after(self, event: Event) -> Progress:
        now = self._now
        match event:
            case StageBegan(stage):
                return replace(now, stage=stage, doing="", done=0, total=0)
            case StageEnded(stage, seconds):
                return replace(now, stages=(*now.stages, (stage, seconds)))
            case TaskBegan(task):
                self._tasks.append(task)
                return self._at(task, task.done_before)
            case RenderAdvanced():
                return self._rendered(event)
            case TaskAdvanced(task, done):
                return self._at(task, done)
            case TaskEnded(task):
                self._tasks = [other for other in self._tasks if other is not task]
        return now

    def _at(self, task: Task, done: int) -> Progress:
        """Frames that are rendered are what people wait for: other work beside them is not shown."""
        if not isinstance(task, RenderTask) and any(isinstance(other, RenderTask) for other in self._tasks):
            return self._now
        frames = task.frames if isinstance(task, RenderTask) else self._now.frames
        return replace(self._now, doing=task.name, done=done, total=task.total or 0, frames=frames)

    def _rendered(self, event: RenderAdvanced) -> Progress:
        now = replace(self._at(event.task, event.done), frames_done=event.frames_done)
        if event.progress is None:
            return now
        told = event.progress
        return replace(now, step=told.step + 1, steps=told.steps, seconds_left=told.seconds_left)
