"""Text never leaves its box, becomes smaller before it is refused, and loses no word."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from masactrl_video.errors import UserError
from masactrl_video.page.text import FONT, font_of, set_text
from masactrl_video.settings.story import PageStyle

STYLE = PageStyle(text_size=30, min_text_size=12)
words = st.lists(st.text("abcdeghijkmopqrstuwyzÄéß!?.…", min_size=1, max_size=9), min_size=1, max_size=25)


@settings(max_examples=30)
@given(words, st.integers(40, 500), st.integers(20, 300))
def test_text_stays_in_its_box_with_all_its_words(parts: list[str], width: int, height: int) -> None:
    try:
        text = set_text(" ".join(parts), STYLE, width, height, "panel 1")
    except UserError:
        assume(False)
    assert " ".join(text.lines).split() == parts
    assert 12 <= text.size_px <= 30
    assert text.width_px <= width
    assert text.height_px == text.line_px * len(text.lines) <= height
    for line in text.lines:
        left, top, right, bottom = font_of(STYLE, text.size_px).getbbox(line)
        assert right - left <= text.width_px
        assert bottom - top <= 1.6 * text.line_px


def test_the_largest_size_that_fits_is_taken() -> None:
    long = "a rather long sentence that somebody says in a small panel of a page"
    sizes = [set_text(long, STYLE, width, 80, "panel 1").size_px for width in (900, 300, 230)]
    assert sizes[0] == 30 > sizes[1] > sizes[2] >= 12


def test_lines_are_even_and_breaks_are_kept() -> None:
    text = set_text("one two three four five six seven eight", STYLE, 400, 300, "panel 1")
    assert len(text.lines) == 2
    assert text.width_px < 330  # not one full line and a word below
    assert set_text("one\ntwo three", STYLE, 400, 300, "panel 1").lines == ("one", "two three")


def test_what_does_not_fit_or_cannot_be_written_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"panel 3: 'a long speech .*…' does not fit into 60x40 px, even at .* 12; shorten"
    ):
        set_text("a long speech " * 9, STYLE, 60, 40, "panel 3")
    with pytest.raises(UserError, match="'Donaudampfschifffahrt' does not fit"):
        set_text("Donaudampfschifffahrt", STYLE, 60, 400, "panel 3")
    with pytest.raises(UserError, match="panel 3: the font has no character '猫'"):
        set_text("a 猫", STYLE, 400, 400, "panel 3")
    with pytest.raises(UserError, match=r"page\.font: .*OFL\.txt cannot be read as a TrueType"):
        set_text("a", PageStyle(font=FONT.parent / "OFL.txt"), 400, 400, "panel 3")
    with pytest.raises(UserError, match=r"page\.font: none\.ttf cannot be read"):
        set_text("a", PageStyle(font=Path("none.ttf")), 400, 400, "panel 3")


def test_the_font_comes_with_its_licence() -> None:
    assert "SIL OPEN FONT LICENSE Version 1.1" in (FONT.parent / "OFL.txt").read_text()
    assert FONT.stat().st_size < 200_000
