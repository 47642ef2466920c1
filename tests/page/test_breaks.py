"""Lines break where readers of the script expect it, and never inside a letter."""

from __future__ import annotations

import pytest

from masactrl_video.page.breaks import cut_to, letters_of, paragraphs_of, pieces_of, shown


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("良い天気ですね。「森へ!」", "良|い|天|気|で|す|ね。|「森|へ!」"),
        ("ちょっと、カード……です", "ちょっ|と、|カー|ド……|で|す"),
        ("今天天气好,走吧", "今|天|天|气|好,|走|吧"),
        ("안녕하세요 반갑습니다", "안녕하세요 |반갑습니다"),
        ("วันนี้อากาศดีมาก", "วัน|นี้|อากาศ|ดี|มาก"),
        ("ขาวๆ ฯลฯ", "ขาวๆ |ฯลฯ"),
        ("ພວກເຮົາໄປ", "ພ|ວ|ກ|ເຮົາ|ໄປ"),
        ("ខ្ញុំស្រឡាញ់", "ខ្ញុំ|ស្រ|ឡា|ញ់"),
        ("မြန်မာနိုင်ငံ", "မြန်|မာ|နိုင်|ငံ"),
        ("well-known and/or", "well-|known |and/|or"),
        ("see https://example.org/a/b", "see |https://|example.org/|a/|b"),
        ("10\u00a0km 1\u202f000 a\u2060b", "10\u00a0km |1\u202f000 |a\u2060b"),
        ("soft\u00adhyphen zero\u200bwidth", "soft\u00ad|hyphen |zero\u200b|width"),
        ("full\u3000width", "full\u3000|width"),
        ("wait—what", "wait|—|what"),
        ("1/2 50% $3.50", "1/2 |50% |$3.50"),
    ],
)
def test_a_line_breaks_by_the_rules_of_its_script(text: str, parts: str) -> None:
    assert "|".join(pieces_of(text)) == parts
    assert "".join(pieces_of(text)) == text


def test_line_ends_of_all_systems_are_line_ends_and_controls_are_nothing() -> None:
    text = "a\r\nb\nc\rd\u2028e\u2029f\u0085g\vh\fi"
    assert paragraphs_of(text) == list("abcdefghi")
    assert paragraphs_of("\n a\t\tb \a\n\n c\u00ad\n \u200b") == ["a b", "", "c"]
    assert paragraphs_of(" \n\u3000\t") == []


def test_only_the_soft_hyphen_at_the_end_of_a_line_is_seen() -> None:
    assert shown("hy\u00adphen\u00ad") == "hyphen-"
    assert shown("hy\u00adphen \u3000") == "hyphen"
    assert shown("\ufeffa\u200bb\u2060c\u00a0") == "abc\u00a0"
    assert shown("می\u200cخواهم") == "می\u200cخواهم"  # which joins and parts letters


@pytest.mark.parametrize(
    "letter",
    ["e\u0301\u0323", "👨\u200d👩\u200d👧", "🇯🇵", "❤\ufe0f", "👍🏽", "क्ष", "ស្រ", "က္က", "มี่", "กำ", "葛\U000e0100"],
)
def test_what_is_read_as_one_letter_stays_whole(letter: str) -> None:
    assert list(letters_of(letter * 3)) == [letter] * 3


def test_a_word_is_cut_beside_its_marks_and_not_at_them() -> None:
    assert cut_to("(abc).", 5) == 3
    assert cut_to("ab(cd", 3) == 2
    assert cut_to("!!!!", 2) == 2  # nothing else is there
