"""Curves over the frames, as SVG that stands in the page itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from masactrl_video.measure.figure import Figure, Floats

WIDTH_PX, HEIGHT_PX = 640, 150
_LEFT_PX, _RIGHT_PX, _TOP_PX, _BOTTOM_PX = 64, 8, 8, 22
_MOST_POINTS = 600

COLOURS = ("#1f6fb4", "#c8551b", "#2a8a3e", "#8b3fa8", "#b8860b", "#5b6770", "#c2347c", "#0e8f94")
"""Of the clips, in their order."""


def curve_chart(figures: Sequence[Figure | None], labels: Sequence[str]) -> str:
    """One line for each clip that has the figure; values that are not finite leave a gap."""
    shown = [(at, figure) for at, figure in enumerate(figures) if figure is not None and len(figure.frames) > 1]
    finite = [figure.curve[np.isfinite(figure.curve)] for _, figure in shown]
    values = np.concatenate(finite) if finite else np.empty(0)
    if not values.size:
        return ""
    low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - max(abs(low), 1) / 2, high + max(abs(high), 1) / 2
    first = min(int(figure.frames[0]) for _, figure in shown)
    last = max(int(figure.frames[-1]) for _, figure in shown)
    parts = list(_axes(low, high, first, last))
    for at, figure in shown:
        x = _LEFT_PX + (figure.frames - first) / max(last - first, 1) * (WIDTH_PX - _LEFT_PX - _RIGHT_PX)
        y = HEIGHT_PX - _BOTTOM_PX - (figure.curve - low) / (high - low) * (HEIGHT_PX - _TOP_PX - _BOTTOM_PX)
        colour = COLOURS[at % len(COLOURS)]
        for points in _stretches(x, y):
            line = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
            parts.append(f'<polyline points="{line}" stroke="{colour}"><title>{escape(labels[at])}</title></polyline>')
    return f'<svg viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}" role="img" aria-label="value over frames">{"".join(parts)}</svg>'


def _axes(low: float, high: float, first: int, last: int) -> Iterator[str]:
    bottom, right = HEIGHT_PX - _BOTTOM_PX, WIDTH_PX - _RIGHT_PX
    yield f'<path class="axis" d="M{_LEFT_PX},{_TOP_PX} V{bottom} H{right}"/>'
    yield f'<text x="{_LEFT_PX - 6}" y="{_TOP_PX + 8}" class="end">{high:.4g}</text>'
    yield f'<text x="{_LEFT_PX - 6}" y="{bottom}" class="end">{low:.4g}</text>'
    yield f'<text x="{_LEFT_PX}" y="{HEIGHT_PX - 6}">frame {first}</text>'
    yield f'<text x="{right}" y="{HEIGHT_PX - 6}" class="end">{last}</text>'


def _stretches(x: Floats, y: Floats) -> Iterator[list[tuple[float, float]]]:
    """Points that are joined: without gaps, and of a long clip the least and the most of each small stretch."""
    points: list[tuple[float, float]] = []
    for px, py in _thinned(x, y):
        if math.isfinite(py):
            points.append((px, py))
        elif points:
            yield points
            points = []
    if points:
        yield points if len(points) > 1 else [points[0], (points[0][0] + 1, points[0][1])]


def _thinned(x: Floats, y: Floats) -> Iterator[tuple[float, float]]:
    if len(x) <= _MOST_POINTS:
        yield from zip(x.tolist(), y.tolist(), strict=True)
        return
    for places in np.array_split(np.arange(len(x)), _MOST_POINTS // 2):
        known = places[np.isfinite(y[places])]
        for place in sorted(
            {int(known[y[known].argmin()]), int(known[y[known].argmax()])} if len(known) else places[:1]
        ):
            yield float(x[place]), float(y[place])
