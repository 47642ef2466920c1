"""Which text encoders read a prompt, how far, and in which text it stands then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def as_it_is(prompt: str) -> str:
    """A prompt alone."""
    return prompt


@dataclass(frozen=True)
class TextReader:
    """A text encoder, by its tokenizer."""

    part: str
    """The tokenizer among the parts of a pipeline."""
    name: str
    """For messages."""
    most: int | None = None
    """Tokens that it reads; None: as many as the tokenizer says."""
    written: Callable[[str], str] = as_it_is
    """What a prompt becomes before it is read, e.g. lower case."""
    around: Callable[[str], str] = as_it_is
    """The text in which that stands."""


FIRST = TextReader("tokenizer", "the text encoder")
SECOND = TextReader("tokenizer_2", "the second text encoder")
IN_CONVERSATION = "the text encoder (with the conversation around the prompt)"
"""Name of a language model that is asked for a picture."""
