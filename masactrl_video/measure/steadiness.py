"""Does it flicker: warp error, difference of neighbours, and the seam of a loop."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from masactrl_video.measure.figure import Definition, Figure, Values
from masactrl_video.measure.flow import FlowFinder, Warp, occluded, warp_error
from masactrl_video.measure.moments import Moment, Picture

WARP_ERROR = Definition(
    name="warp-error",
    title="Warp error",
    question="Does it flicker?",
    better="lower",
    perfect=None,
    formula="the flow of the input clip moves frame t+1 of the result onto frame t; squared difference of values 0 to "
    "1, mean over pixels that are not hidden and not on the edge of a motion, then over pairs",
    source="Lai et al. 2018 (arXiv 1808.00449), their published code",
    not_said="Blurred or still pictures have low values. The error of the flow is in it: compare with the input's own.",
    digits=5,
    rewards_nothing=True,
    of_pairs=True,
)

FLICKER = Definition(
    name="temporal-flickering",
    title="Steadiness of neighbours (VBench's temporal flickering)",
    question="Does it flicker?",
    better="higher",
    perfect=1.0,
    formula="(255 − mean absolute difference of neighbouring frames) / 255, mean over pairs",
    source="VBench (Huang et al. 2024, arXiv 2311.17982), temporal_flickering",
    not_said="It is meant for still scenes: motion lowers it as flicker does, and a frozen clip gets 1.",
    digits=4,
    rewards_nothing=True,
    of_pairs=True,
)

SEAM = Definition(
    name="loop-seam",
    title="Seam of the loop",
    question="Does it flicker?",
    better="lower",
    perfect=0.0,
    formula="mean absolute difference of the last frame and the first, less the mean of all neighbours; 0 if less",
    source="this package",
    not_said="Only for clips that are meant to loop. A slow seam with a jump in speed is not seen.",
    unit="levels of 255",
    digits=2,
)


class WarpError:
    """`WARP_ERROR` of the result, and of the input itself for comparison."""

    def __init__(self, find_flow: FlowFinder) -> None:
        self._find_flow = find_flow
        self._last: Moment | None = None
        self._result, self._input = Values(), Values()

    def add(self, moment: Moment) -> None:
        """Look at the next frame; those without an input frame of their own are passed over."""
        if moment.original is None:
            return
        last, self._last = self._last, moment
        if last is None or last.original is None:
            return
        forward = self._find_flow(last.original, moment.original)
        warp = Warp(forward)
        hidden = occluded(forward, self._find_flow(moment.original, last.original), warp)
        self._result.add(last.frame, warp_error(last.pixels, moment.pixels, warp, hidden))
        self._input.add(last.frame, warp_error(last.original, moment.original, warp, hidden))

    def figures(self) -> Iterator[Figure]:
        """One, if there was a pair."""
        if len(self._result):
            own = WARP_ERROR.text(float(self._input.array().mean()))
            yield self._result.figure(WARP_ERROR, f"the input's own: {own}", f"flow: {self._find_flow.about}")


class Flicker:
    """`FLICKER`; with `loop` also `SEAM`."""

    def __init__(self, loop: bool = False) -> None:
        self._loop = loop
        self._first: Picture | None = None
        self._last: Moment | None = None
        self._values = Values()

    def add(self, moment: Moment) -> None:
        """Look at the next frame."""
        if self._last is None:
            self._first = moment.pixels
        else:
            self._values.add(self._last.frame, difference(self._last.pixels, moment.pixels))
        self._last = moment

    def figures(self) -> Iterator[Figure]:
        """One or two, if there was a pair."""
        if not len(self._values) or self._last is None or self._first is None:
            return
        frames, steps = np.array(self._values.frames, np.int64), self._values.array()
        yield Figure(FLICKER, frames, (255.0 - steps) / 255.0)
        if self._loop:
            seam = difference(self._last.pixels, self._first)
            value = max(seam - float(steps.mean()), 0.0)
            yield Figure(SEAM, np.array([self._last.frame]), np.array([value]), notes=(f"last to first: {seam:.2f}",))


def difference(first: Picture, second: Picture) -> float:
    """Mean absolute difference, in levels of 255."""
    import cv2

    return float(cv2.absdiff(first, second).mean())
