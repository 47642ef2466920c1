"""Prompts whose branches have texts of different lengths, so that each has a call of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from masactrl_video.model.backbones.base import LoadedModel
from masactrl_video.model.backbones.branches import Branch
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.parts import Tokenizer, Tokens


@dataclass(frozen=True)
class RaggedText(TextCondition):
    """`hidden_states` are filled up behind the shorter texts."""

    lengths: torch.Tensor | None = None
    """(branches,): tokens of each text."""

    @classmethod
    def of(cls, texts: Sequence[torch.Tensor]) -> RaggedText:
        """Of texts (tokens, channels), one a branch."""
        longest = max(text.shape[0] for text in texts)
        filled = torch.stack([F.pad(text, (0, 0, 0, longest - text.shape[0])) for text in texts])
        return cls(filled, torch.tensor([text.shape[0] for text in texts]))

    def text(self, branch: int) -> torch.Tensor:
        """(tokens, channels) of one branch."""
        assert self.lengths is not None
        return self.hidden_states[branch, : int(self.lengths[branch])]


def branch_by_branch(model: LoadedModel, text: TextCondition, call: Callable[[int], torch.Tensor]) -> torch.Tensor:
    """The denoiser's output (branches, frames, channels, height, width), the prompt's own branch called first.

    Args:
        call: number of a branch → (frames, channels, height, width).
    """
    if text.branches == 1:
        return call(0)[None]
    found: dict[Branch, torch.Tensor] = {}
    for branch in reversed(range(text.branches)):
        with model.clock.of([text.names[branch]]):
            found[text.names[branch]] = call(branch)
    return torch.stack([found[name] for name in text.names])


class WrittenInto(Tokenizer):
    """A tokenizer for prompts that a model reads inside a text of its own."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: Callable[[str], str],
        first: int = 0,
        part: Callable[[str], str] = lambda text: text,
        most: int | None = None,
    ) -> None:
        """The tokenizer, and what a prompt becomes before it is read.

        Args:
            first: so many of the text's first tokens the denoiser does not read.
            part: what a part of a prompt becomes.
            most: tokens that are read; None: as many as the tokenizer says.
        """
        self._tokenizer, self._template, self._first, self._part = tokenizer, template, first, part
        self._most = most

    @property
    def model_max_length(self) -> int:
        """Tokens that the text encoder reads."""
        return self._tokenizer.model_max_length if self._most is None else self._most

    def __call__(self, text: str, **options: bool | int) -> Tokens:
        """A prompt as it stands before the denoiser; a part of one, without special tokens, alone."""
        if options.get("add_special_tokens") is False:
            return self._tokenizer(self._part(text), **options)
        return _Ids(list(self._tokenizer(self._template(text), **options).input_ids[self._first :]))


@dataclass(frozen=True)
class _Ids:
    input_ids: list[int]
