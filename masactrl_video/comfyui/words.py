"""Words that name an object, as places among a prompt's tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from masactrl_video.errors import UserError

_SUMMARIES = ("l", "g")
"""Tokenizers whose text is only a summary where a model has another one too."""


@dataclass(frozen=True)
class Words:
    """Where words stand among the tokens that the denoiser reads, and how their map is cut."""

    tokens: tuple[int, ...]
    divisor: int = 4
    """UNets: side of the latents / side of the attention that makes the map."""
    threshold: float = 0.1
    """Normalised attention from which a point belongs to the object (MasaCtrl, Sec. 4.2)."""

    def check(self, context: torch.Tensor) -> None:
        """See that the prompt of a call, (rows, text tokens, channels), is so long.

        Raises:
            UserError: it is shorter.
        """
        if max(self.tokens) >= context.shape[1]:
            raise UserError(
                f"words: they stand at token {max(self.tokens)}, the prompt of this sampler has {context.shape[1]}; "
                "give the sampler the conditioning of the same Prompt with Words"
            )


class Clip(Protocol):
    """ComfyUI's CLIP, whatever text encoder it is."""

    def tokenize(self, text: str) -> Mapping[str, Sequence[Sequence[Sequence[Any]]]]:
        """Tokenizer → chunks of tokens, each with its weight."""


def find_words(clip: Clip, prompt: str, words: str, text_tokens: int) -> tuple[int, ...]:
    """Places of words, which are parted by commas or spaces, in a prompt; every occurrence.

    Args:
        text_tokens: so many of its tokens the denoiser reads, the last ones.

    Raises:
        UserError: no words, or one that is not in the prompt.
    """
    asked = words.replace(",", " ").split()
    if not asked:
        raise UserError("words: none are given; write those of the prompt that name the object")
    read, empty = _ids(clip, prompt), _ids(clip, "")
    unread = len(read) - text_tokens
    if unread < 0:
        raise UserError(
            f"words: this text encoder gives {text_tokens} tokens for {len(read)}, so that a word's place is "
            "not known; give masks instead"
        )
    found: set[int] = set()
    for word in asked:
        starts: list[int] = []
        for form in (word, f" {word}"):  # some tokenizers know a word behind a space as another one
            ids = _own(_ids(clip, form), empty)
            starts = [i for i in range(unread, len(read) - len(ids) + 1) if ids and read[i : i + len(ids)] == ids]
            if starts:
                break
        if not starts:
            raise UserError(f"words: {word!r} is not in the prompt {prompt!r:.200}; give words as they stand there")
        found.update(i - unread for start in starts for i in range(start, start + len(ids)))
    return tuple(sorted(found))


def _ids(clip: Clip, text: str) -> list[Any]:
    """Of all tokens, in the order in which the denoiser reads them."""
    by_encoder = clip.tokenize(text)
    names = [name for name in by_encoder if name not in _SUMMARIES] or list(by_encoder)
    return [token[0] for chunk in by_encoder[names[0]] for token in chunk]


def _own(ids: Sequence[Any], empty: Sequence[Any]) -> list[Any]:
    """Tokens of a text without those that stand around every text."""
    before = 0
    while before < min(len(ids), len(empty)) and ids[before] == empty[before]:
        before += 1
    rest, around = list(ids[before:]), set(empty[before:])
    end = next((place for place, token in enumerate(rest) if token in around), len(rest))
    return rest[:end]
