"""Where the panels of a page lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from masactrl_video.errors import UserError
from masactrl_video.page.story import Layout, PageStyle, Row

_MOST_ON_A_PAGE = 6


@dataclass(frozen=True)
class Rect:
    """A rectangle in px; right and bottom are the first px outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """px."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """px."""
        return self.bottom - self.top


def _rows(*rows: Sequence[float], heights: Sequence[float] = ()) -> tuple[Row, ...]:
    return tuple(Row(height=h, widths=list(w)) for w, h in zip(rows, heights or [1.0] * len(rows), strict=True))


LAYOUTS: dict[str, tuple[Row, ...]] = {
    "single": _rows([1]),
    "strip": _rows([1, 1, 1]),
    "column": _rows([1], [1], [1]),
    "2x2": _rows([1, 1], [1, 1]),
    "2x3": _rows([1, 1], [1, 1], [1, 1]),
    "3x2": _rows([1, 1, 1], [1, 1, 1]),
    "3x3": _rows([1, 1, 1], [1, 1, 1], [1, 1, 1]),
    "wide-top": _rows([1], [1, 1]),
    "wide-bottom": _rows([1, 1], [1]),
    "splash": _rows([1], [1, 1, 1], heights=[2, 1]),
    "zigzag": _rows([2, 1], [1, 2], [2, 1]),
}
"""Named layouts; `2x3` has 2 panels in a row and 3 rows. Beside them `auto` takes what suits the number of panels."""

_AUTO = {
    1: _rows([1]),
    2: _rows([1], [1]),
    3: _rows([1], [1, 1]),
    4: _rows([1, 1], [1, 1]),
    5: _rows([1, 1], [1], [1, 1]),
    6: _rows([1, 1], [1, 1], [1, 1]),
}


def pages_of(count: int, layout: Layout, where: str = "layout") -> list[list[Row]]:
    """Rows of each page for `count` panels.

    A layout with fewer places than panels is repeated on further pages. A page that is not full keeps the rows that it
    needs, and the panels of its last row share that row's width.

    Raises:
        UserError: no layout of that name.
    """
    if layout == "auto":
        sizes = [_MOST_ON_A_PAGE] * (count // _MOST_ON_A_PAGE) + [count % _MOST_ON_A_PAGE]
        return [list(_AUTO[size]) for size in sizes if size]
    if isinstance(layout, str):
        if layout not in LAYOUTS:
            raise UserError(f"{where}: there is no {layout!r}; there are auto, {', '.join(LAYOUTS)}, or give rows")
        layout = list(LAYOUTS[layout])
    places = sum(len(row.widths) for row in layout)
    return [_first(layout, min(places, count - done)) for done in range(0, count, places)]


def _first(rows: Sequence[Row], count: int) -> list[Row]:
    kept: list[Row] = []
    for row in rows:
        if count <= 0:
            break
        kept.append(Row(height=row.height, widths=row.widths[:count]))
        count -= len(row.widths)
    return kept


def panel_places(rows: Sequence[Row], style: PageStyle, where: str = "layout") -> list[Rect]:
    """The place of each panel on its page, row by row, left to right.

    Raises:
        UserError: margins and gutters leave less than 32 px for a panel.
    """
    lines = _spans([row.height for row in rows], style.margin, style.height - style.margin, style.gutter)
    places = [
        Rect(left, top, right, bottom)
        for row, (top, bottom) in zip(rows, lines, strict=True)
        for left, right in _spans(row.widths, style.margin, style.width - style.margin, style.gutter)
    ]
    for number, place in enumerate(places):
        if min(place.width, place.height) < 32:
            raise UserError(
                f"{where}: panel {number + 1} of a page would be {place.width}x{place.height} px; give a larger page, "
                "smaller margin or gutter, or fewer panels on a page"
            )
    return places


def _spans(weights: Sequence[float], start: int, stop: int, gutter: int) -> list[tuple[int, int]]:
    """Cut start..stop by weights, with a gutter between; what rounding leaves goes to nobody twice."""
    usable, total, done = stop - start - gutter * (len(weights) - 1), sum(weights), 0.0
    spans = []
    for index, weight in enumerate(weights):
        first = start + round(usable * done / total) + gutter * index
        done += weight
        spans.append((first, start + round(usable * done / total) + gutter * index))
    return spans
