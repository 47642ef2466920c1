"""How far the frames of a clip are, told step by step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from masactrl_video.progress import RenderAdvanced, RenderProgress, RenderTask, check_cancelled, emit


class RenderSteps:
    """Says how far a clip's frames are. What is begun anew is not counted twice.

    The frames of a chunk are done together, at its last step; progress and time left go by the steps that they have
    taken.
    """

    def __init__(
        self, todo_frames: int, frames: int, steps: int, tell: Callable[[RenderProgress], None] = lambda progress: None
    ) -> None:
        self._frames, self._steps, self._tell = frames, steps, tell
        self._kept_frames, self._total = frames - todo_frames, todo_frames * steps
        self._done, self._sure = 0, 0  # steps that frames have taken; those of them that are not taken anew
        self._done_frames, self._sure_frames = 0, 0
        self.task = RenderTask("render", "step", frames * steps, done_before=self._kept_frames * steps, frames=frames)
        self._started_seconds = time.perf_counter()

    def begin_chunk(self) -> None:
        """A chunk begins, perhaps anew."""
        check_cancelled()
        self._done, self._done_frames = self._sure, self._sure_frames
        self._emit(None)

    def end_chunk(self) -> None:
        """Its frames are written."""
        self._sure, self._sure_frames = self._done, self._done_frames

    def step(self, step: int, frames: Sequence[int]) -> None:
        """Frames took a denoising step."""
        check_cancelled()
        self._done += len(frames)
        self._done_frames += len(frames) if step == self._steps - 1 else 0
        pace = (time.perf_counter() - self._started_seconds) / self._done
        left = round(pace * (self._total - self._done), 1)
        progress = RenderProgress(frames[-1], self._frames, step, self._steps, left)
        self._emit(progress)
        self._tell(progress)

    def taken_elsewhere(self, steps: int, frames_done: int, frame: int, step: int) -> None:
        """Other processes have taken so many steps in all; fewer than before where some are taken anew.

        Args:
            frame: the last one that took a step, and `step` which one.
        """
        check_cancelled()
        self._done, self._done_frames = steps, frames_done
        left = (time.perf_counter() - self._started_seconds) / max(1, steps) * (self._total - steps)
        progress = RenderProgress(frame, self._frames, step, self._steps, round(left, 1))
        self._emit(progress)
        self._tell(progress)

    def _emit(self, progress: RenderProgress | None) -> None:
        done, frames = self.task.done_before + self._done, self._kept_frames + self._done_frames
        emit(RenderAdvanced(self.task, done, frames, progress))
