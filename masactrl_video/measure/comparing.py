"""Several results beside each other: who wins a row, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from masactrl_video.measure.fidelity import EDIT_STRENGTH, UNEDITED
from masactrl_video.measure.figure import Definition, Figure, Measured

RESAMPLES = 1000
SEED = 0


@dataclass(frozen=True)
class Row:
    """A figure of several clips."""

    about: Definition
    values: tuple[float, ...]
    """Of each clip; NaN where it was not measured."""
    winner: int | None
    """The best, by its place; None where no value is better, or where two are best."""
    runner_up: int | None
    interval: tuple[float, float] | None
    """95 % interval of `paired_interval`, winner less runner-up; None where they cannot be paired."""
    said: str = ""
    """What must be said of the choice."""

    @property
    def is_clear(self) -> bool:
        """Whether the interval says that the winner is better: it does not hold 0."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)


def compare_measured(measured: Sequence[Measured], *, seed: int = SEED) -> list[Row]:
    """A row for each figure that any of the clips has."""
    names = dict.fromkeys(figure.about.name for one in measured for figure in one.figures)
    return [_row([one.figure(name) for one in measured], measured, seed) for name in names]


def _row(figures: Sequence[Figure | None], measured: Sequence[Measured], seed: int) -> Row:
    about = next(figure.about for figure in figures if figure is not None)
    values = tuple(math.nan if figure is None else figure.value for figure in figures)
    nothing = [at for at, one in enumerate(measured) if about.rewards_nothing and is_unedited(one)]
    said = "".join(
        f"{measured[at].label} is out: nothing was edited (edit strength {measured[at].value(EDIT_STRENGTH.name):.2f})"
        for at in nothing[:1]
    )
    able = [at for at, value in enumerate(values) if not math.isnan(value) and at not in nothing]
    if about.better == "neither" or len(able) < 2:
        winner = able[0] if len(able) == 1 and nothing and about.better != "neither" else None
        return Row(about, values, winner, None, None, said)
    first, second = _best(about, values, able), None
    second = _best(about, values, [at for at in able if at != first])
    if not about.is_better(values[first], values[second]):
        return Row(about, values, None, None, None, said or "no difference")
    one, other = figures[first], figures[second]
    assert one is not None and other is not None
    return Row(about, values, first, second, paired_interval(one, other, seed=seed), said)


def _best(about: Definition, values: Sequence[float], able: Sequence[int]) -> int:
    best = able[0]
    for at in able[1:]:
        if about.is_better(values[at], values[best]):
            best = at
    return best


def is_unedited(measured: Measured) -> bool:
    """Whether a clip shows its input as it was: its fidelity is no merit."""
    strength = measured.figure(EDIT_STRENGTH.name)
    return strength is not None and strength.value < UNEDITED


def paired_interval(
    first: Figure, second: Figure, *, seed: int = SEED, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """95 % interval of the first value less the second, without their signs where nearer to 0 is better.

    It is that of a paired bootstrap over frames.

    Frames that follow each other are alike, so stretches of frames are drawn, not single ones (circular block
    bootstrap, Politis and Romano 1992), of a length of the cube root of their number; the same for both figures. None
    where they are not of the same frames, of fewer than three, or where a value is infinite.
    """
    count = len(first.frames)
    if count < 3 or not np.array_equal(first.frames, second.frames):
        return None
    length = max(1, round(count ** (1 / 3)))
    size = abs if first.about.better == "nearer to 0" else float
    rng = np.random.default_rng(seed)
    differences = np.empty(resamples)
    for at in range(resamples):
        starts = rng.integers(0, count, math.ceil(count / length))
        chosen = ((starts[:, None] + np.arange(length)) % count).ravel()[:count]
        differences[at] = size(first.of(chosen)) - size(second.of(chosen))
    if not np.isfinite(differences).all():
        return None
    low, high = np.percentile(differences, (2.5, 97.5))
    return float(low), float(high)
