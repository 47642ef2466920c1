"""Progress bars, drawn from what the run tells."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

from masactrl_video.errors import counted
from masactrl_video.progress import Event, RenderAdvanced, RenderTask, Task, TaskAdvanced, TaskBegan, TaskEnded


class Bars:
    """A bar for each task that is being done; hand it to `progress.watching`."""

    def __init__(self) -> None:
        self.shown: dict[Task, tqdm[Any]] = {}

    def __call__(self, event: Event) -> None:
        """Show an event."""
        match event:
            case TaskBegan(RenderTask() as task):
                self.shown[task] = _render_bar(task)
            case TaskBegan(task):
                self.shown[task] = tqdm(
                    total=task.total, initial=task.done_before, desc=task.name, unit=task.unit, leave=not task.passing
                )
            case RenderAdvanced():
                _advance_render(self.shown[event.task], event)
            case TaskAdvanced(task, done):
                bar = self.shown[task]
                bar.update(done - bar.n)
            case TaskEnded(task):
                self.shown.pop(task).close()


class _FrameBar(tqdm):  # type: ignore[type-arg]
    """A bar that moves with every step and counts frames."""

    frames: str = ""

    @property
    def format_dict(self) -> Any:
        """What its format can show."""
        return {**super().format_dict, "frames": self.frames}


def _render_bar(task: RenderTask) -> _FrameBar:
    return _FrameBar(
        total=task.total,
        initial=task.done_before,
        desc=task.name,
        smoothing=0,  # steps differ much in a chunk with decoding at its end: the pace is that of the whole run
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {frames} [{elapsed}<{remaining}{postfix}]",
    )


def _advance_render(bar: Any, event: RenderAdvanced) -> None:
    assert isinstance(event.task, RenderTask)
    bar.frames = f"{event.frames_done}/{counted(event.task.frames, 'frame')}"
    if event.progress is None:
        bar.n = event.done
        bar.refresh()
        return
    bar.set_postfix_str(f"step {event.progress.step + 1}/{event.progress.steps}", refresh=False)
    bar.n = event.done
    bar.update(0)
