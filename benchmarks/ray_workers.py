"""One worker of Ray against two, where the work waits instead of computing: what handing it out costs.

`python benchmarks/ray_workers.py`, after `pip install 'masactrl-video[ray]'`. Workers are started before the clock is:
each does one number for that.
"""

from __future__ import annotations

import time

from waiting import Waiting

from masactrl_video.engines.choose import each_of
from masactrl_video.settings.engine_parts import EngineSettings

SECONDS, NUMBERS = 1.0, 40


def wall_seconds(workers: int) -> float:
    """From the first number's end to the last one's, over all numbers after those with which the workers begin."""
    with each_of(EngineSettings(engine="ray", workers=workers)) as each:
        ends = sorted(end for _, end in each(Waiting(SECONDS), range(NUMBERS + workers), time.sleep))
    return ends[-1] - ends[workers - 1]


def main() -> None:
    """Print a table."""
    print("| workers | seconds | ideal | efficiency |\n| --- | --- | --- | --- |")
    for workers in (1, 2):
        ideal, seconds = SECONDS * NUMBERS / workers, wall_seconds(workers)
        print(f"| {workers} | {seconds:.2f} | {ideal:.2f} | {ideal / seconds:.3f} |", flush=True)


if __name__ == "__main__":
    main()
