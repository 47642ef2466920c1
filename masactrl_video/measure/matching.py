"""Frames of two clips of different rates, matched by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from masactrl_video.errors import UserError, counted
from masactrl_video.video.frame import Timing

_TOLERANCE = 1.5
"""Frames, of the slower clip, by which two clips of different numbers of frames may differ in length."""


@dataclass(frozen=True)
class Match:
    """Which frame of the input belongs to which of the result."""

    partners: dict[int, int]
    """Place in the result → place in the input, both ascending; each place stands there once."""
    said: str
    """How they were matched, in words."""


def match_frames(
    result: tuple[Path, Sequence[Timing]], original: tuple[Path, Sequence[Timing]], *, shortest: bool = False
) -> Match:
    """Match by number where both have as many frames, else by time.

    By time, each frame of the slower clip has that of the faster one whose start is nearest.

    Args:
        result: the clip, and when each of its frames is shown.
        original: likewise.
        shortest: where one is longer, take the stretch that both have.

    Raises:
        UserError: they last unlike long.
    """
    (made_path, made), (given_path, given) = result, original
    if len(made) == len(given):
        same = abs(_seconds(made) - _seconds(given)) <= _TOLERANCE * _seconds(made) / len(made)
        rates = "" if same else f", though they last {_seconds(made):.2f} and {_seconds(given):.2f} seconds"
        said = f"{counted(len(made), 'frame')} each, matched by number{rates}"
        return Match({at: at for at in range(len(made))}, said)
    frame_seconds = max(_seconds(made) / len(made), _seconds(given) / len(given))
    if not shortest and abs(_seconds(made) - _seconds(given)) > _TOLERANCE * frame_seconds:
        raise UserError(
            f"{made_path} has {counted(len(made), 'frame')} in {_seconds(made):.2f} seconds and {given_path} "
            f"{counted(len(given), 'frame')} in {_seconds(given):.2f}: they cannot be matched by number or by time; "
            "--shortest takes the stretch that both have, or give the clip that the result was made from"
        )
    common = min(_seconds(made), _seconds(given))
    slower, faster = (made, given) if len(made) / _seconds(made) <= len(given) / _seconds(given) else (given, made)
    starts = np.array([timing.start_seconds - faster[0].start_seconds for timing in faster])
    pairs: dict[int, int] = {}
    for at, timing in enumerate(slower):
        start = timing.start_seconds - slower[0].start_seconds
        if start < common:
            pairs.setdefault(int(np.abs(starts - start).argmin()), at)  # of the faster clip → of the slower
    partners = pairs if slower is given else {at: fast for fast, at in pairs.items()}
    said = (
        f"{counted(len(made), 'frame')} in {_seconds(made):.2f} seconds and {len(given)} in {_seconds(given):.2f}, "
        f"matched by time: {counted(len(partners), 'pair')}"
    )
    return Match(partners, said)


def _seconds(timeline: Sequence[Timing]) -> float:
    return timeline[-1].start_seconds + timeline[-1].duration_seconds - timeline[0].start_seconds
