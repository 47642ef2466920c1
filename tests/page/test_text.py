"""Text never leaves its box, becomes smaller before it is refused, and loses no word."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from made_font import write_font

from masactrl_video.errors import UserError
from masactrl_video.page.lettering import FONT
from masactrl_video.page.story import PageStyle
from masactrl_video.page.text import lettering_of, set_text

STYLE = PageStyle(text_size=30, min_text_size=12)
words = st.lists(st.text("abcdeghijkmopqrstuwyzÄéß!?.…", min_size=1, max_size=9), min_size=1, max_size=25)


@settings(max_examples=30)
@given(words, st.integers(40, 500), st.integers(20, 300))
def test_text_stays_in_its_box_with_all_its_words(parts: list[str], width: int, height: int) -> None:
    try:
        text = set_text(" ".join(parts), STYLE, width, height, "panel 1")
    except UserError:
        assume(False)
    assert "".join(text.lines).replace(" ", "") == "".join(parts)
    assert 12 <= text.size_px <= 30
    assert text.width_px <= width
    assert text.height_px == text.line_px * len(text.lines) <= height
    for line in text.lines:
        width, above, below = lettering_of(STYLE, text.size_px).extent_px(line)
        assert width <= text.width_px
        assert above + below <= 1.6 * text.line_px


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
    with pytest.raises(UserError, match="'Hi' does not fit into 0x400 px"):
        set_text("Hi", STYLE, -5, 400, "panel 3")
    with pytest.raises(UserError, match=r"panel 3: '\\u200b' has nothing that can be seen"):
        set_text(" \u200b", STYLE, 400, 400, "panel 3")
    with pytest.raises(UserError, match=r"page\.font: .*OFL\.txt cannot be read as a TrueType"):
        set_text("a", PageStyle(font=FONT.parent / "OFL.txt"), 400, 400, "panel 3")
    with pytest.raises(UserError, match=r"page\.font: none\.ttf cannot be read"):
        set_text("a", PageStyle(font=Path("none.ttf")), 400, 400, "panel 3")


def test_a_word_is_cut_only_where_it_fits_at_no_size_and_as_seldom_as_may_be() -> None:
    assert set_text("Donaudampfschifffahrt", STYLE, 150, 40, "panel 3").lines == ("Donaudampfschifffahrt",)
    cut = set_text("Donaudampfschifffahrt", STYLE, 60, 400, "panel 3")
    assert ("".join(cut.lines), len(cut.lines)) == ("Donaudampfschifffahrt", 3)
    assert max(cut.width_px, 50) <= 60
    url = set_text("See https://example.org/a/very/long/address/that/has/no/spaces", STYLE, 220, 200, "panel 3")
    assert url.size_px == 30  # it breaks at slashes
    assert all(line[-1] in "/s" for line in url.lines)


def test_texts_without_spaces_fill_their_lines(tmp_path: Path) -> None:
    font = write_font(tmp_path / "font.ttf", "今日はとても良い天気ですね。森へ散歩に行きましょう!")
    style = PageStyle(font=font, text_size=20, min_text_size=10)
    text = set_text("今日はとても良い天気ですね。森へ散歩に行きましょう!", style, 170, 200, "panel 1")
    assert text.size_px == 20
    assert text.lines == ("今日はとても良", "い天気ですね。", "森へ散歩に行き", "ましょう!")


def test_a_thousand_letters_without_a_space_take_no_time() -> None:
    started_seconds = time.process_time()
    for size in (60, 400):
        with pytest.raises(UserError, match="does not fit"):
            set_text("x" * 1000, PageStyle(text_size=size, min_text_size=6), 100, 150, "panel 1")
    assert time.process_time() - started_seconds < 20


def test_the_font_comes_with_its_licence() -> None:
    assert "SIL OPEN FONT LICENSE Version 1.1" in (FONT.parent / "OFL.txt").read_text()
    assert FONT.stat().st_size < 200_000
