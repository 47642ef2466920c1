"""Words found among the tokens of ComfyUI's text encoders."""

from __future__ import annotations

from typing import Any

import pytest

from masactrl_video.comfyui.words import find_words
from masactrl_video.errors import UserError

PROMPT = "a bear, red bear"


class Clip:
    """Tokenizers as ComfyUI has them: chunks of (token, weight), filled up, with what stands around every text."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def tokenize(self, text: str) -> dict[str, list[list[tuple[Any, float]]]]:
        ids = [sum(map(ord, word)) for word in text.replace(",", " ,").split()]
        if self.kind == "sdxl":
            chunk = ["start", *ids, "end", *["end"] * (8 - len(ids))]
            return {"g": [[(i, 1.0) for i in chunk]], "l": [[(i, 1.0) for i in chunk]]}
        if self.kind == "flux":
            return {"l": [[("start", 1.0)]], "t5xxl": [[(i, 1.0) for i in [*ids, "end", *["pad"] * 4]]]}
        spaced = [i if n == 0 and not text.startswith(" ") else -i for n, i in enumerate(ids)]
        around = ["im_start", "system", "im_end", "im_start", "user"]
        return {"qwen25_7b": [[(i, 1.0) for i in [*around, *spaced, "im_end", "im_start", "assistant"]]]}


@pytest.mark.parametrize(
    ("kind", "text_tokens", "expected"),
    [("sdxl", 10, (2, 5)), ("flux", 10, (1, 4)), ("qwen", 10, (3, 6))],
)
def test_every_occurrence_is_found_where_the_denoiser_reads_it(
    kind: str, text_tokens: int, expected: tuple[int, ...]
) -> None:
    assert find_words(Clip(kind), PROMPT, "bear", text_tokens) == expected
    assert find_words(Clip(kind), PROMPT, "red, bear", text_tokens) == tuple(sorted({*expected, expected[1] - 1}))


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="'frog' is not in the prompt 'a bear, red bear'"):
        find_words(Clip("flux"), PROMPT, "frog", 10)
    with pytest.raises(UserError, match="none are given"):
        find_words(Clip("flux"), PROMPT, " , ", 10)
    with pytest.raises(UserError, match="gives 20 tokens for 10"):
        find_words(Clip("flux"), PROMPT, "bear", 20)
