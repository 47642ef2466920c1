"""How far rendering is: a bar for people, and the same facts for whoever asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tqdm import tqdm


@dataclass(frozen=True)
class RenderProgress:
    """The state after one UNet call."""

    frame: int
    """The last one that took the step, from 0."""
    frames: int
    """Of the whole clip."""
    step: int
    """Denoising step that it took, from 0."""
    steps: int
    seconds_left: float
    """By the pace so far."""


class RenderBar:
    """A progress bar over frames times steps. What is begun anew is not counted twice."""

    def __init__(self, todo_frames: int, frames: int, steps: int, tell: Callable[[RenderProgress], None]) -> None:
        self._frames, self._steps, self._tell = frames, steps, tell
        self._bar = tqdm(total=todo_frames * steps, desc="render", unit="frame·step", smoothing=0.05)
        self._total, self._done, self._sure = todo_frames * steps, 0, 0
        self._started_seconds = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def begin_chunk(self) -> None:
        """A chunk begins, perhaps anew."""
        self._done = self._sure
        self._bar.n = self._sure
        self._bar.refresh()

    def end_chunk(self) -> None:
        """Its frames are written."""
        self._sure = self._done

    def step(self, step: int, frames: Sequence[int]) -> None:
        """Frames took a denoising step."""
        self._done += len(frames)
        text = f"frame {frames[0] + 1}-{frames[-1] + 1} of {self._frames}, step {step + 1}/{self._steps}"
        self._bar.set_postfix_str(text)
        self._bar.update(len(frames))
        pace = (time.perf_counter() - self._started_seconds) / self._done
        left = round(pace * (self._total - self._done), 1)
        self._tell(RenderProgress(frames[-1], self._frames, step, self._steps, left))
