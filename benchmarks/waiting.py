"""Work that waits instead of computing; workers of Ray find it by its name."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Waiting:
    """A `Work`: a number takes so long, and nothing else."""

    seconds: float
    sources: Sequence[Path] = ()

    def open(self, sources: Sequence[Path]) -> Callable[[int], float]:
        """Nothing to load."""

        def wait(number: int) -> float:
            time.sleep(self.seconds)
            return time.time()

        return wait
