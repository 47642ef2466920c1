"""How much moves: VBench's dynamic degree."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from masactrl_video.measure.figure import Definition, Figure, Floats, Values
from masactrl_video.measure.flow import Flow, FlowFinder
from masactrl_video.measure.moments import Moment

RATE = 8.0
"""Frames a second at which VBench looks."""

DYNAMIC = Definition(
    name="dynamic-degree",
    title="Dynamic degree",
    question="Does it follow the motion?",
    better="neither",
    perfect=None,
    formula="at 8 frames a second: the fastest 5 % of the flow, in mean above 6 px for a short side of 256; 1 where "
    "that holds for a quarter of the frames, else 0. The curve is that mean by the bound",
    source="VBench (Huang et al. 2024), dynamic_degree; a clip of one or two such frames must move in one pair",
    not_said="Whether the motion is the right one. A moving camera and flicker count as motion too.",
    digits=0,
    of_pairs=True,
)


class DynamicDegree:
    """`DYNAMIC`."""

    def __init__(self, find_flow: FlowFinder, frame_rate: float) -> None:
        self._find_flow, self._rate = find_flow, frame_rate
        self._interval = max(1, round(frame_rate / RATE))
        self._last: Moment | None = None
        self._seen = 0
        self._values = Values()

    def add(self, moment: Moment) -> None:
        """Look at the next frame, if it is one of eight a second."""
        if moment.frame % self._interval:
            return
        self._seen += 1
        last, self._last = self._last, moment
        if last is None:
            return
        bound_px = max(1.0, RATE / self._rate) * 6.0 * min(moment.pixels.shape[:2]) / 256.0
        self._values.add(last.frame, fastest(self._find_flow(last.pixels, moment.pixels)) / bound_px)

    def figures(self) -> Iterator[Figure]:
        """One, if there was a pair."""
        if not len(self._values):
            return
        wanted = max(1, round(4 * self._seen / 16))
        curve = self._values.array()
        moving = int((curve > 1).sum())

        def moves(samples: Floats) -> float:
            return float((samples > 1).sum() >= wanted * len(samples) / len(curve))

        note = f"{moving} of {len(curve)} pairs move, {wanted} must"
        notes = (note, f"flow: {self._find_flow.about}")
        yield Figure(DYNAMIC, np.array(self._values.frames, np.int64), curve, reduce=moves, notes=notes)


def fastest(flow: Flow) -> float:
    """Mean length of the longest 5 % of the vectors, in px."""
    lengths = np.sqrt(np.square(flow.astype(np.float64)).sum(axis=-1)).ravel()
    count = max(1, int(lengths.size * 0.05))
    return float(np.partition(lengths, lengths.size - count)[-count:].mean())
