"""Each letter is written by the first font that has it, where a reader of its script looks for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_font import write_font
from PIL import Image, ImageDraw, features

from masactrl_video.errors import UserError
from masactrl_video.page import lettering as module
from masactrl_video.page.lettering import FONT, Lettering
from masactrl_video.page.story import PageStyle
from masactrl_video.page.text import set_text

needs_raqm = pytest.mark.skipif(not features.check("raqm"), reason="Pillow has no raqm here")


@pytest.fixture
def fonts(tmp_path: Path) -> list[Path]:
    """Latin and kanji in one, kanji and Hebrew in the other."""
    return [write_font(tmp_path / "one.ttf", "abc猫-"), write_font(tmp_path / "two.ttf", "猫犬שלוםé\u0301。")]


def runs(fonts: list[Path], line: str) -> list[tuple[str, int]]:
    return [(run.text, run.font) for run in module._runs(tuple(fonts), line)]


def test_the_first_font_that_has_a_letter_writes_it(fonts: list[Path]) -> None:
    assert runs(fonts, "ab 猫 犬。 c") == [("ab 猫 ", 0), ("犬。 ", 1), ("c", 0)]
    assert runs([*reversed(fonts)], "ab猫") == [("ab", 1), ("猫", 0)]
    assert runs(fonts, "ae\u0301") == [("a", 0), ("é", 1)]  # a letter and its mark in one font
    assert runs(fonts, "a\u3000b\u2003c") == [("a  b c", 0)]  # a space that no font has


def test_what_no_font_has_is_named_with_its_number(fonts: list[Path]) -> None:
    style = PageStyle(font=fonts)
    with pytest.raises(UserError) as raised:
        set_text("ab 鳥cd魚鳥", style, 400, 400, "panel 3")
    assert str(raised.value) == (
        "panel 3: none of the fonts one.ttf, two.ttf has '鳥' (U+9CE5), 'd' (U+0064), '魚' (U+9B5A); replace it, or "
        "give fonts as page.font: [one.ttf, two.ttf, another.ttf]; the first that has a letter writes it"
    )
    with pytest.raises(UserError, match=r"the font built-in has no '猫' \(U\+732B\); .* \[built-in, another\.ttf\]"):
        set_text("a 猫", PageStyle(), 400, 400, "panel 3")
    with pytest.raises(UserError, match=r"has no '\\ud800' \(U\+D800\)"):
        set_text("a\ud800", PageStyle(), 400, 400, "panel 3")
    with pytest.raises(UserError, match=r"'b\u0301' \(U\+0062 U\+0301\)"):  # each has one of the two
        set_text("b\u0301", style, 400, 400, "panel 3")
    assert set_text("a 猫", PageStyle(font=[Path("built-in"), fonts[1]]), 400, 400, "panel 3").lines == ("a 猫",)


@pytest.mark.parametrize("raqm", [True, False])
def test_what_acts_on_others_is_not_seen(fonts: list[Path], raqm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if raqm and not features.check("raqm"):
        pytest.skip("Pillow has no raqm here")
    monkeypatch.setattr(module, "has_raqm", lambda: raqm)
    module._font.cache_clear()
    module._runs.cache_clear()
    module._extent_px.cache_clear()
    plain = Lettering((fonts[0],), 30).extent_px("a猫b")
    for unseen in "\u200b\u200c\u200d\u200e\u2060\u2069\ufe0f\ufeff\u00ad":
        set_ = set_text(f"a{unseen}猫{unseen}b\a", PageStyle(font=fonts[:1]), 300, 90, "panel 1")
        assert Lettering((fonts[0],), 30).extent_px(set_.lines[0]) == plain


@needs_raqm
def test_fonts_take_turns_in_the_order_of_the_script(fonts: list[Path]) -> None:
    assert runs(fonts, "ab של c") == [("ab ", 0), ("של", 1), (" ", 1), ("c", 0)]
    assert [text for text, _ in runs(fonts, "של ab ום") if text.strip()] == ["ום", "ab", "של "]
    assert [text for text, _ in runs(fonts, "\u200fab של c") if text.strip("\u200f ")] == ["c", "של ", "ab"]
    assert [text for text, _ in runs(fonts, "ab של-ום c") if text.strip()] == ["ab ", "ום", "-", "של", "c"]


@needs_raqm
def test_numbers_with_signs_are_read_to_the_right_in_scripts_to_the_left(tmp_path: Path) -> None:
    fonts = [write_font(tmp_path / "one.ttf", "0123:.,-%"), write_font(tmp_path / "two.ttf", "שלוםاب")]
    for number in ("12:30", "1,203.1", "3-1", "20%", "%20"):
        assert (number, 0) in runs(fonts, f"של {number} ום")
    assert [text for text, _ in runs(fonts, "של 1:2: 3 ום") if text.strip()] == ["ום", "3", ": ", "1:2", "של "]
    assert ("12:30", 0) in runs(fonts, "اب 12:30 اب")
    assert [text for text, _ in runs(fonts, "اب 3-1 اب") if text.strip()] == ["اب", "1", "-", "3", "اب "]


@needs_raqm
def test_a_line_of_a_text_to_the_left_runs_to_the_left(fonts: list[Path]) -> None:
    text = set_text("של ab ab", PageStyle(font=fonts, text_size=20, min_text_size=20), 60, 90, "panel 1")
    assert text.lines == ("של", "\u200fab", "\u200fab")


def test_without_raqm_a_script_that_needs_it_is_refused(fonts: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("masactrl_video.page.text.has_raqm", lambda: False)
    with pytest.raises(UserError, match=r"panel 1: 'ש' is of a script that Pillow sets only with raqm"):
        set_text("של", PageStyle(font=fonts), 400, 400, "panel 1")


def test_lines_of_several_fonts_are_written_as_wide_as_they_were_measured(fonts: list[Path]) -> None:
    lettering = Lettering((*fonts, FONT), 30)
    picture = Image.new("L", (400, 60), 255)
    lettering.write(ImageDraw.Draw(picture), (200, 40), "a犬 x猫犬", 0, "m")  # type: ignore[arg-type]
    ink = (np.array(picture) < 128).any(axis=0).nonzero()[0]
    width, above, below = lettering.extent_px("a犬 x猫犬")
    assert abs(200 - (ink[0] + ink[-1]) / 2) <= 4
    assert width - 8 <= ink[-1] - ink[0] <= width
    assert (above, below) == (24, 3)
