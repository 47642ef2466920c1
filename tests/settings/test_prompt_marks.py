"""Marks of other programs in prompts, told from plain text."""

from __future__ import annotations

import pytest

from masactrl_video.settings.prompt_marks import marks_in


@pytest.mark.parametrize(
    "mark",
    [
        *("(bear:1.3)", "(a red bear : 1.3)", "(bear:.5)", "(bear: 1)", "(bear:-0.5)", "(room 2:1.2)"),
        r"(a \(brown\) bear:1.1)",
        *("((bear))", "[bear]", "[a:b:0.5]", "[a:0.5]", "[a|b]", "{a|b}", "{2$$a|b}", "{{bear}}"),
        *("<lora:x:0.8>", "<lyco:x:1>", "<hypernet:x:1>", "<embedding:x>", "embedding:x", "embedding:x.pt"),
        *("BREAK", "AND", "ADDCOMM", "__animal__", "__animals/dogs__", "(bear)++", "(bear)1.3"),
    ],
)
def test_a_mark_is_found_as_it_stands(mark: str) -> None:
    assert marks_in(f"a bear, {mark}, in the meadow") == [mark]
    assert marks_in(mark + " in the meadow") == [mark]


@pytest.mark.parametrize(
    "prompt",
    [
        *("a bear (brown) in a red shirt", r"a bear \(brown\)", r"a \[red\] shirt", r"\(bear:1.3\)"),
        *(
            "(at 12:30)",
            "(ratio 16:9)",
            "note: 3) (hi",
            "1:1",
            "a <cat-toy> <3",
            "{bear}",
            "a_b c__d",
            "(red)-coloured",
        ),
        *(
            "A BEAR AND A FROG",
            "BREAK",
            "an unBREAKable bear",
            "C++ and R&B",
            "a bear -- brown",
            "熊（棕色）",
            "",
        ),
    ],
)
def test_plain_text_has_none(prompt: str) -> None:
    assert marks_in(prompt) == []


def test_all_are_found_in_order_and_once() -> None:
    prompt = "(a bear:1.3) in a [red] shirt <lora:detail:0.8> dancing BREAK masterpiece, embedding:easynegative BREAK"
    assert marks_in(prompt) == ["(a bear:1.3)", "[red]", "<lora:detail:0.8>", "BREAK", "embedding:easynegative"]
