"""Where captions and balloons lie in a panel; everything about them that can be wrong is found here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from masactrl_video.errors import UserError
from masactrl_video.page.layout import Rect
from masactrl_video.page.story import Balloon, PageStyle, Panel
from masactrl_video.page.text import SetText, set_text

Point = tuple[float, float]

ROUNDNESS = {"speech": 1.26, "thought": 1.5, "shout": 1.5}
"""Side of a balloon divided by the side of the rectangle of text inside it."""

_HEAD_RADIUS = 0.07
"""Of a head whose size is not known, as part of the panel's shorter side; balloons keep away where they can."""

_LINE_LETTERS = 11
"""In a narrow panel a balloon may be as wide as so many times the text size."""

_MOST_WIDTH, _MOST_HEIGHT, _CAPTION_HEIGHT = 0.6, 0.62, 0.34
"""Parts of a panel that one balloon's width, all balloons together, and the caption may take."""


@dataclass(frozen=True)
class PlacedText:
    """A balloon or a caption in its panel."""

    text: SetText
    rect: Rect
    """Of the balloon's body, in px of the panel."""
    kind: str
    """speech, thought, shout or caption."""
    tail: Point | None = None
    """Where the tail points, in px of the panel."""


def place_texts(
    panel: Panel,
    size_px: tuple[int, int],
    style: PageStyle,
    heads: Mapping[str, Point],
    where: str,
    radii_px: Mapping[str, float] | None = None,
) -> list[PlacedText]:
    """Caption and balloons of a panel of (width, height) px.

    Args:
        heads: character → where its head is, in fractions of the panel.
        radii_px: character → how large its head is; tails end there.

    Raises:
        UserError: text that does not fit, a speaker who is not in the panel, or balloons over each other.
    """
    placed = [_caption(panel, size_px, style, where)] if panel.caption else []
    upper = placed[0].rect.bottom if panel.caption and panel.caption.at == "top" else 0
    lower = placed[0].rect.top if panel.caption and panel.caption.at == "bottom" else size_px[1]
    room = Rect(0, upper, size_px[0], lower)
    known_px = radii_px or {}
    radii_px = {name: known_px.get(name, min(size_px) * _HEAD_RADIUS) for name in heads}
    cursor_px, flowing = upper + _gap(style), 0
    for number, balloon in enumerate(panel.balloons, 1):
        name = f"{where}, balloon {number}"
        head = _head(balloon, heads, name)
        high = int(_MOST_HEIGHT * room.height / max(1, sum(other.at is None for other in panel.balloons)))
        set_, width, height = _body(balloon, size_px, high, style, name)
        if balloon.at is None:
            rect = _beside_heads(balloon, heads, radii_px, size_px, (width, height), cursor_px, flowing, _gap(style))
            cursor_px, flowing = rect.bottom + _gap(style), flowing + 1
        else:
            rect = _at(balloon.at, room, width, height, _gap(style))
        tail = None if head is None else (head[0] * size_px[0], head[1] * size_px[1])
        if tail is not None and balloon.tail is None:
            tail = _before(tail, rect, next((known_px.get(who, 0.0) for who in heads if heads[who] == head), 0.0))
        placed.append(PlacedText(set_, rect, balloon.kind, tail))
    _check_apart(placed, size_px, where)
    return placed


def _beside_heads(
    balloon: Balloon,
    heads: Mapping[str, Point],
    radii_px: Mapping[str, float],
    size_px: tuple[int, int],
    body_px: tuple[int, int],
    top: int,
    flowing: int,
    gap: int,
) -> Rect:
    """Left, right or in the middle: where it covers the fewest heads; then on its speaker's side, then by turns."""
    width, height = body_px
    circles = [(x * size_px[0], y * size_px[1], radii_px[name]) for name, (x, y) in heads.items()]
    speaker = heads[balloon.by][0] if balloon.by is not None and len(heads) > 1 else 0.5
    right_first = speaker > 0.5 if speaker != 0.5 else flowing % 2 == 1
    lefts = [gap, size_px[0] - gap - width]
    lefts = [*(reversed(lefts) if right_first else lefts), (size_px[0] - width) // 2]

    def covered(left: int) -> int:
        return sum(
            left - radius < x < left + width + radius and top - radius < y < top + height + radius
            for x, y, radius in circles
        )

    left = min(lefts, key=covered)  # the first of equals
    return Rect(left, top, left + width, top + height)


def _before(head: Point, rect: Rect, radius_px: float) -> Point:
    """The point of a head's outline that is nearest to the middle of a balloon."""
    across, down = (rect.left + rect.right) / 2 - head[0], (rect.top + rect.bottom) / 2 - head[1]
    part = min(1.0, radius_px / (math.hypot(across, down) or 1.0))
    return head[0] + part * across, head[1] + part * down


def _gap(style: PageStyle) -> int:
    return style.border + max(4, style.text_size // 4)


def _padding(size_px: int) -> int:
    return max(2, round(size_px * 0.35))


def _caption(panel: Panel, size_px: tuple[int, int], style: PageStyle, where: str) -> PlacedText:
    assert panel.caption is not None
    pad, edge = _padding(style.text_size), style.border
    width, height = size_px[0] - 2 * (pad + edge), int(size_px[1] * _CAPTION_HEIGHT) - 2 * (pad + edge)
    text = set_text(panel.caption.text, style, width, height, f"{where}, caption")
    high, wide = text.height_px + 2 * pad + edge, text.width_px + 2 * pad + edge
    if panel.caption.at == "top":
        return PlacedText(text, Rect(0, 0, wide, high), "caption")
    return PlacedText(text, Rect(size_px[0] - wide, size_px[1] - high, size_px[0], size_px[1]), "caption")


def _body(
    balloon: Balloon, size_px: tuple[int, int], high_px: int, style: PageStyle, where: str
) -> tuple[SetText, int, int]:
    """The text and the size of the balloon around it."""
    factor, pad = ROUNDNESS[balloon.kind], _padding(style.text_size)
    narrow = min(size_px[0] - 2 * _gap(style), _LINE_LETTERS * style.text_size)
    wide = int(max(size_px[0] * _MOST_WIDTH, narrow) / factor) - 2 * pad
    text = set_text(balloon.text, style, wide, int(high_px / factor) - 2 * pad, where)
    return text, round((text.width_px + 2 * pad) * factor), round((text.height_px + 2 * pad) * factor)


def _head(balloon: Balloon, heads: Mapping[str, Point], where: str) -> Point | None:
    if balloon.by is not None and balloon.by not in heads:
        raise UserError(f"{where}: {balloon.by!r} is not in this panel; there are: {', '.join(heads) or 'none'}")
    if balloon.tail == "none":
        return None
    if balloon.tail is not None:
        return balloon.tail
    if balloon.by is not None:
        return heads[balloon.by]
    return next(iter(heads.values())) if len(heads) == 1 else None


def _at(place: str | Point, room: Rect, width: int, height: int, gap: int) -> Rect:
    if isinstance(place, str):
        down, _, across = place.rpartition("-")
        words = {down, across}
        x = 0.0 if "left" in words else 1.0 if "right" in words else 0.5
        y = 0.0 if "top" in words else 1.0 if "bottom" in words else 0.5
        left = room.left + gap + round(x * (room.width - 2 * gap - width))
        top = room.top + gap + round(y * (room.height - 2 * gap - height))
    else:
        left = round(min(max(place[0] * room.right - width / 2, gap), room.right - gap - width))
        top = round(min(max(place[1] * room.bottom - height / 2, room.top + gap), room.bottom - gap - height))
    return Rect(left, top, left + width, top + height)


def _check_apart(placed: Sequence[PlacedText], size_px: tuple[int, int], where: str) -> None:
    names = [f"balloon {n}" for n in range(1, len(placed) + 1)]
    if placed and placed[0].kind == "caption":
        names = ["the caption", *names]
    for name, text in zip(names, placed, strict=False):
        rect = text.rect
        if rect.left < 0 or rect.top < 0 or rect.right > size_px[0] or rect.bottom > size_px[1]:
            raise UserError(f"{where}: {name} would reach outside the panel; shorten it, or give the panel more room")
    for (one, a), (other, b) in combinations(zip(names, placed, strict=False), 2):
        across = min(a.rect.right, b.rect.right) - max(a.rect.left, b.rect.left)
        down = min(a.rect.bottom, b.rect.bottom) - max(a.rect.top, b.rect.top)
        if across > 0 and down > 0:
            raise UserError(
                f"{where}: {one} and {other} would lie over each other; give them another `at`, or less text"
            )
