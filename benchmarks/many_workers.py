"""What the owner of a run pays for each chunk, with workers that only sleep; and how two of them fare against one.

Nothing of Ray is in it: handing out, progress and figures are. `python benchmarks/many_workers.py`
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from engines.fakes import Clock, FakeWorker, chunks_of

from masactrl_video.engines.handing import Handing
from masactrl_video.render.steps import RenderSteps

FRAMES, STEPS, CHUNKS_A_WORKER = 32, 50, 5
CHUNKS_A_SECOND = 100
"""Of all workers together, so that no machine is too busy for the question."""


def owner_seconds(workers: int, seconds: float, chunks: int) -> tuple[float, float]:
    """CPU time of the owner's thread, and wall-clock time, for all chunks."""
    clock = Clock()
    hired = [FakeWorker(clock, str(number), seconds) for number in range(workers)]

    def hire(there: int) -> list[FakeWorker]:
        return hired if there == 0 else []

    handing = Handing(hire, RenderSteps(chunks * FRAMES, chunks * FRAMES, STEPS), STEPS)
    cpu, wall = time.thread_time(), time.perf_counter()
    for _ in handing.map_unordered(chunks_of(chunks, FRAMES)):
        pass
    spent = time.thread_time() - cpu, time.perf_counter() - wall
    handing.stop()
    clock.end()
    return spent


def main() -> None:
    """Print both tables."""
    print("| workers | chunks | sleep | owner a chunk | efficiency |\n| --- | --- | --- | --- | --- |")
    for workers in (1, 2, 8, 64, 250, 1000):
        seconds = max(0.05, workers / CHUNKS_A_SECOND)
        chunks = min(workers * CHUNKS_A_WORKER, 3000) if workers > 8 else 20 * workers
        cpu, wall = owner_seconds(workers, seconds, chunks)
        ideal = chunks / workers * seconds
        print(
            f"| {workers} | {chunks} | {seconds:.2f} s | {1000 * cpu / chunks:.2f} ms | {ideal / wall:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
