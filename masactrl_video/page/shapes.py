"""Outlines of balloons and their tails, as polygons in px."""

from __future__ import annotations

import math

from masactrl_video.page.layout import Rect
from masactrl_video.page.placing import ROUNDNESS, PlacedText, Point

Polygon = list[Point]

_EXPONENT = math.log(2) / math.log(ROUNDNESS["speech"])
"""Of the superellipse whose inscribed rectangle of the same shape is smaller by the roundness of a speech balloon."""


def shapes_of(placed: PlacedText) -> list[Polygon]:
    """The body, and the tail's parts where there is one; together they are one outline."""
    body = {"speech": _speech, "thought": _cloud, "shout": _burst}[placed.kind](placed.rect)
    if placed.tail is None or _inside(placed.rect, placed.tail):
        return [body]
    tail = _bubbles if placed.kind == "thought" else _spike
    return [body, *tail(placed.rect, placed.tail)]


def _middle(rect: Rect) -> Point:
    return (rect.left + rect.right) / 2, (rect.top + rect.bottom) / 2


def _inside(rect: Rect, point: Point) -> bool:
    return rect.left <= point[0] <= rect.right and rect.top <= point[1] <= rect.bottom


def _on_ellipse(rect: Rect, angle: float, exponent: float, grow: float = 1.0) -> Point:
    (x, y), cos, sin = _middle(rect), math.cos(angle), math.sin(angle)
    across = math.copysign(abs(cos) ** (2 / exponent), cos) * rect.width / 2
    down = math.copysign(abs(sin) ** (2 / exponent), sin) * rect.height / 2
    return x + grow * across, y + grow * down


def _speech(rect: Rect) -> Polygon:
    return [_on_ellipse(rect, 2 * math.pi * i / 180, _EXPONENT) for i in range(180)]


def _cloud(rect: Rect) -> Polygon:
    """Bumps around an ellipse; their tips touch the rectangle."""
    bumps = max(10, round((rect.width + rect.height) / max(24, min(rect.width, rect.height) / 3)))
    points = []
    for i in range(bumps * 12):
        angle = 2 * math.pi * i / (bumps * 12)
        points.append(_on_ellipse(rect, angle, 2.0, 0.92 + 0.08 * abs(math.sin(angle * bumps / 2))))
    return points


def _burst(rect: Rect) -> Polygon:
    """Spikes outwards from an ellipse; their tips touch the rectangle."""
    spikes = 18
    return [
        _on_ellipse(rect, math.pi * i / spikes, 2.3, (0.86 if i % 2 else 1.0) - 0.05 * (i % 4 == 2))
        for i in range(2 * spikes)
    ]


def _reach(rect: Rect, target: Point) -> tuple[Point, Point, float]:
    """The middle, the tail's tip (it stops before the target), and the width of its root."""
    (x, y), (tx, ty) = _middle(rect), target
    root = max(10.0, min(rect.width, rect.height) * 0.3)
    edge = _edge(rect, target)
    length = math.hypot(tx - edge[0], ty - edge[1])
    longest = 1.1 * min(rect.width, rect.height) + 40
    part = min(0.8, longest / length) if length else 0.0
    return (x, y), (edge[0] + part * (tx - edge[0]), edge[1] + part * (ty - edge[1])), root


def _edge(rect: Rect, target: Point) -> Point:
    """Where the line from the middle to the target leaves the body."""
    (x, y), (tx, ty) = _middle(rect), target
    across, down = abs(tx - x) / (rect.width / 2), abs(ty - y) / (rect.height / 2)
    scale = (across**_EXPONENT + down**_EXPONENT) ** (-1 / _EXPONENT)
    return x + scale * (tx - x), y + scale * (ty - y)


def _spike(rect: Rect, target: Point) -> list[Polygon]:
    """A slightly curved triangle from inside the body to the speaker."""
    middle, tip, root = _reach(rect, target)
    edge = _edge(rect, target)
    base = (middle[0] + 0.7 * (edge[0] - middle[0]), middle[1] + 0.7 * (edge[1] - middle[1]))
    length = math.hypot(tip[0] - base[0], tip[1] - base[1]) or 1.0
    normal = (-(tip[1] - base[1]) / length, (tip[0] - base[0]) / length)
    bend = 0.12 * length
    sides = []
    for side in (-1, 1):
        start = (base[0] + side * root / 2 * normal[0], base[1] + side * root / 2 * normal[1])
        control = tuple((s + t) / 2 + bend * n for s, t, n in zip(start, tip, normal, strict=True))
        sides.append([_bezier(start, (control[0], control[1]), tip, i / 12) for i in range(13)])
    return [[*sides[0], *reversed(sides[1])]]


def _bezier(start: Point, control: Point, end: Point, t: float) -> Point:
    a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t**2
    return a * start[0] + b * control[0] + c * end[0], a * start[1] + b * control[1] + c * end[1]


def _bubbles(rect: Rect, target: Point) -> list[Polygon]:
    """Three circles that become smaller on the way to the thinker."""
    _, tip, root = _reach(rect, target)
    edge = _edge(rect, target)
    most = min(root, 0.8 * math.hypot(tip[0] - edge[0], tip[1] - edge[1]))  # a short way has small circles
    circles = []
    for part, radius in ((0.25, most * 0.36), (0.65, most * 0.26), (0.95, most * 0.17)):
        x, y = edge[0] + part * (tip[0] - edge[0]), edge[1] + part * (tip[1] - edge[1])
        steps = [2 * math.pi * i / 40 for i in range(40)]
        circles.append([(x + radius * math.cos(a), y + radius * math.sin(a)) for a in steps])
    return circles
