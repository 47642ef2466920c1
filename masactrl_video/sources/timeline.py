"""Which of several sources a frame follows, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Weights = tuple[float, ...]
"""Of each source, summing to 1."""


@dataclass(frozen=True)
class Timeline:
    """Sources along a clip; a frame's weights depend on its number alone."""

    starts: tuple[int, ...] = (0,)
    """Frame from which each source holds, rising; the first is 0."""
    mixed_frames: int = 0
    """From a source's frame on, so many frames follow both it and the one before."""

    def weights(self, frame: int) -> Weights:
        """How much a frame follows each source: all of one, or while they are mixed, parts of two."""
        now = max(number for number, start in enumerate(self.starts) if start <= frame)
        since = frame - self.starts[now]
        share = (since + 1) / (self.mixed_frames + 1) if now and since < self.mixed_frames else 1.0
        before = {now - 1: 1.0 - share} if share < 1 else {}
        return tuple({now: share, **before}.get(number, 0.0) for number in range(len(self.starts)))

    def cuts(self) -> Sequence[int]:
        """Frames that follow their sources otherwise than the frame before, rising.

        No batch goes across one: then all its frames attend alike, and their sums in floating point do not depend on
        what other frames follow.
        """
        return [frame for start in self.starts[1:] for frame in range(start, start + self.mixed_frames + 1)]
