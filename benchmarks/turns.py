"""Several ways to do the same work, by turns in one process: whatever else a machine does hits all alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

from clip import Timed, timed

Times = Mapping[str, list[Timed[Any]]]


def by_turns(ways: Mapping[str, Callable[[], Any]], rounds: int, warm_up: int = 1) -> dict[str, list[Timed[Any]]]:
    """Times of each way in each round; the one that begins changes from round to round, the first rounds warm up."""
    times: dict[str, list[Timed[Any]]] = {way: [] for way in ways}
    for turn in range(-warm_up, rounds):
        order = list(ways)[turn % len(ways) :] + list(ways)[: turn % len(ways)]
        for way in order:
            taken = timed(ways[way])
            if turn >= 0:
                times[way].append(taken)
    return times


def ratio(times: Times, way: str, against: str, work: int = 1) -> dict[str, float]:
    """Median over the rounds of the rounds' ratios, on the clock and in CPU time, and how far the rounds are apart.

    Args:
        work: `way` does so many times what `against` does.
    """
    pairs = list(zip(times[way], times[against], strict=True))
    cpu = [ours.cpu_seconds / theirs.cpu_seconds / work for ours, theirs in pairs]
    return {
        "clock": statistics.median(ours.seconds / theirs.seconds / work for ours, theirs in pairs),
        "cpu": statistics.median(cpu),
        "cpu_low": min(cpu),
        "cpu_high": max(cpu),
        "rounds": len(pairs),
    }


def cpu_seconds(times: Times, way: str) -> float:
    """Median CPU time of a way."""
    return statistics.median(taken.cpu_seconds for taken in times[way])
