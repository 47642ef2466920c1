"""How far rendering is: a bar for people, and the same facts for whoever asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from masactrl_video.errors import counted


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


class _FrameBar(tqdm):  # type: ignore[type-arg]
    """A bar that moves with every step and counts frames."""

    frames: str = ""

    @property
    def format_dict(self) -> Any:
        """What its format can show."""
        return {**super().format_dict, "frames": self.frames}


class RenderBar:
    """A progress bar over frames. What is begun anew is not counted twice.

    The frames of a chunk are done together, at its last step; bar and time left go by the steps that they have taken.
    """

    def __init__(self, todo_frames: int, frames: int, steps: int, tell: Callable[[RenderProgress], None]) -> None:
        self._frames, self._steps, self._tell = frames, steps, tell
        self._kept_frames, self._total = frames - todo_frames, todo_frames * steps
        self._done, self._sure = 0, 0  # steps that frames have taken; those of them that are not taken anew
        self._done_frames, self._sure_frames = 0, 0
        self._bar = _FrameBar(
            total=frames * steps,
            initial=self._kept_frames * steps,
            desc="render",
            smoothing=0,  # steps differ much in a chunk with decoding at its end: the pace is that of the whole run
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {frames} [{elapsed}<{remaining}{postfix}]",
        )
        self._started_seconds = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def begin_chunk(self) -> None:
        """A chunk begins, perhaps anew."""
        self._done, self._done_frames = self._sure, self._sure_frames
        self._show()
        self._bar.refresh()

    def end_chunk(self) -> None:
        """Its frames are written."""
        self._sure, self._sure_frames = self._done, self._done_frames

    def step(self, step: int, frames: Sequence[int]) -> None:
        """Frames took a denoising step."""
        self._done += len(frames)
        self._done_frames += len(frames) if step == self._steps - 1 else 0
        self._bar.set_postfix_str(f"step {step + 1}/{self._steps}", refresh=False)
        self._show()
        self._bar.update(0)
        pace = (time.perf_counter() - self._started_seconds) / self._done
        left = round(pace * (self._total - self._done), 1)
        self._tell(RenderProgress(frames[-1], self._frames, step, self._steps, left))

    def _show(self) -> None:
        self._bar.frames = f"{self._kept_frames + self._done_frames}/{counted(self._frames, 'frame')}"
        self._bar.n = self._kept_frames * self._steps + self._done
