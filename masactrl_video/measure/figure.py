"""A figure: what it is called, how it is defined, and its value over the frames of a clip."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Better = Literal["higher", "lower", "nearer to 0", "neither"]
"""Which of two values is the better one."""

Question = Literal[
    "Is it the same character?",
    "Does it flicker?",
    "Does it follow the motion?",
    "Does the colour drift?",
    "What was kept, and what was changed?",
]
"""What a user wants to know; each figure answers one."""


@dataclass(frozen=True)
class Definition:
    """What a figure is, in words for its readers."""

    name: str
    """In JSON, CSV and files of bounds."""
    title: str
    question: Question
    better: Better
    perfect: float | None
    """Of a clip that is identical to what it is compared with; None where there is no such value."""
    formula: str
    """How it is computed."""
    source: str
    """Whose definition it is."""
    not_said: str
    """What one must not read out of it."""
    unit: str = ""
    digits: int = 3
    rewards_nothing: bool = False
    """Whether a clip in which nothing was edited has the perfect value."""
    of_pairs: bool = False
    """Whether each value is of a frame and the next, not of one frame."""

    def number(self, value: float) -> str:
        """A value as it is shown, without its unit."""
        return "none" if math.isnan(value) else "∞" if math.isinf(value) else f"{value:.{self.digits}f}"

    def text(self, value: float) -> str:
        """A value as it is shown."""
        unit = "" if math.isnan(value) else self.unit
        return f"{self.number(value)} {unit}".rstrip()

    def curve_text(self, value: float) -> str:
        """A value of one frame or pair as it is shown; the unit of a slope is that of a distance there."""
        return self.text(value).partition(" in ")[0]

    def is_better(self, value: float, other: float) -> bool:
        """Whether the first of two values is better."""
        if self.better == "nearer to 0":
            return abs(value) < abs(other)
        return {"higher": value > other, "lower": value < other, "neither": False}[self.better]


def mean(samples: Floats) -> float:
    """Over all moments that have a value; NaN without one."""
    known = samples[~np.isnan(samples)]
    return float(known.mean()) if known.size else math.nan


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure of one clip."""

    about: Definition
    frames: NDArray[np.int64]
    """(moments,): the clip's frames that have a value; of pairs, the first one."""
    curve: Floats
    """(moments,): the value of each frame or pair."""
    samples: Floats | None = None
    """(moments, …): what the value is computed from, where that is more than the curve."""
    reduce: Callable[[Floats], float] = mean
    """From samples of any choice of moments to the value."""
    notes: tuple[str, ...] = ()
    """What must be said of this value."""

    @property
    def value(self) -> float:
        """Of the whole clip."""
        return self.of(np.arange(len(self.frames)))

    @property
    def text(self) -> str:
        """The value as it is shown."""
        return self.about.text(self.value)

    def of(self, moments: NDArray[np.int64]) -> float:
        """Its value were the clip made of these moments, by their place in `frames`."""
        return self.reduce((self.curve if self.samples is None else self.samples)[moments])

    def worst(self, count: int) -> list[int]:
        """The frames with the worst values, the worst first; none where no value is bad."""
        if self.about.better == "neither":
            return []
        badness = {"higher": -self.curve, "lower": self.curve, "nearer to 0": np.abs(self.curve)}[self.about.better]
        known = [place for place in np.argsort(-badness, kind="stable") if not math.isnan(badness[place])]
        best = min((badness[place] for place in known), default=0.0)
        return [int(self.frames[place]) for place in known[:count] if badness[place] > best]


@dataclass
class Values:
    """What a meter gathers: a value, or several, for each frame or pair."""

    frames: list[int] = field(default_factory=list)
    values: list[float | Sequence[float] | Floats] = field(default_factory=list)

    def add(self, frame: int, value: float | Sequence[float] | Floats) -> None:
        """One more."""
        self.frames.append(frame)
        self.values.append(value)

    def __len__(self) -> int:
        return len(self.frames)

    def array(self) -> Floats:
        """(moments, …)."""
        return np.array(self.values, np.float64)

    def figure(self, about: Definition, *notes: str) -> Figure:
        """The mean over the moments."""
        return Figure(about, np.array(self.frames, np.int64), self.array(), notes=notes)


@dataclass(frozen=True, eq=False)
class Measured:
    """All figures of one clip."""

    label: str
    """What it is called beside others."""
    path: Path
    num_frames: int
    width_px: int
    height_px: int
    frame_rate: float | None
    """Frames a second; None for still pictures."""
    figures: tuple[Figure, ...]
    remarks: tuple[str, ...] = ()
    """How it was matched to what it is compared with, and what else must be said."""
    not_measured: tuple[tuple[str, str], ...] = ()
    """What could not be measured, and what is needed for it."""

    def figure(self, name: str) -> Figure | None:
        """By its name; None where it was not measured."""
        return next((figure for figure in self.figures if figure.about.name == name), None)

    def value(self, name: str) -> float:
        """A figure's value.

        Raises:
            KeyError: it was not measured.
        """
        found = self.figure(name)
        if found is None:
            raise KeyError(name)
        return found.value
