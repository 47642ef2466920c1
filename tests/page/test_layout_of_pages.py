"""Panels lie in their rows, inside the margins, with a gutter between, and none over another."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masactrl_video.errors import UserError
from masactrl_video.page.layout import LAYOUTS, Rect, pages_of, panel_places
from masactrl_video.page.story import PageStyle, Row

STYLE = PageStyle(width=1000, height=1400, margin=40, gutter=20)
weights = st.lists(st.floats(0.5, 3), min_size=1, max_size=4)


@given(st.lists(st.builds(Row, height=st.floats(0.5, 3), widths=weights), min_size=1, max_size=5))
def test_rows_fill_the_page_between_the_margins(rows: list[Row]) -> None:
    places = iter(panel_places(rows, STYLE))
    bottom = STYLE.margin - STYLE.gutter
    for row in rows:
        line = [next(places) for _ in row.widths]
        assert {place.top for place in line} == {bottom + STYLE.gutter}
        assert (line[0].left, line[-1].right) == (STYLE.margin, STYLE.width - STYLE.margin)
        assert all(b.left - a.right == STYLE.gutter for a, b in pairwise(line))
        bottom = line[0].bottom
    assert bottom == STYLE.height - STYLE.margin


def test_weights_are_parts_of_what_there_is() -> None:
    big, small, below = panel_places([Row(height=2, widths=[3, 1]), Row(widths=[1])], STYLE)
    assert (big.width, small.width) == (675, 225)  # of 1000 - 2 * 40 - 20
    assert (big.height, below.height) == (867, 433)  # of 1400 - 2 * 40 - 20


@pytest.mark.parametrize("count", range(1, 15))
@pytest.mark.parametrize("layout", ["auto", *LAYOUTS])
def test_every_panel_has_a_place_on_some_page(layout: str, count: int) -> None:
    pages = pages_of(count, layout)
    assert sum(len(panel_places(rows, STYLE)) for rows in pages) == count


def test_a_layout_is_repeated_and_the_last_page_keeps_what_it_needs() -> None:
    rows = [Row(widths=[2, 1]), Row(widths=[1, 1])]
    pages = pages_of(5, rows)
    assert pages == [rows, [Row(widths=[2])]]
    assert panel_places(pages[1], STYLE) == [Rect(40, 40, 960, 1360)]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match=r"layout: there is no 'diagonal'; there are auto, single"):
        pages_of(3, "diagonal")
    with pytest.raises(UserError, match="give a larger page"):
        panel_places([Row(widths=[1] * 12)], PageStyle(width=300))
