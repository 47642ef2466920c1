"""What is asked of the parts of a loaded model, whatever its family: diffusers and transformers name no such types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, Self

import torch


class Pipeline(Protocol):
    """A pipeline of diffusers."""

    @property
    def components(self) -> Mapping[str, object]:
        """Its parts by name; those that were left out are None."""

    @classmethod
    def from_pretrained(cls, folder: str, **options: object) -> Self:
        """From its folder; parts that are there already are given by name."""

    @classmethod
    def from_single_file(cls, file: str, **options: object) -> Self:
        """From one file in its authors' layout."""

    def load_lora_weights(self, folder: str, **options: object) -> None:
        """Add the low-rank weights of a file as an adapter."""

    def set_adapters(self, names: Sequence[str], adapter_weights: Sequence[float]) -> None:
        """Make adapters act, each with its scale."""

    def to(self, device: torch.device) -> Self:
        """Move all parts."""


class Placed(Protocol):
    """A network of diffusers, which knows where it is."""

    @property
    def dtype(self) -> torch.dtype:
        """Number format of its weights."""

    @property
    def device(self) -> torch.device:
        """Of its weights."""


class Tokens(Protocol):
    """A text as a tokenizer has it."""

    @property
    def input_ids(self) -> list[int]:
        """Numbers of its tokens."""


class Tokenizer(Protocol):
    """A tokenizer of transformers."""

    @property
    def model_max_length(self) -> int:
        """Tokens that the text encoder reads."""

    def __call__(self, text: str, **options: bool | int) -> Tokens:
        """A text in tokens."""
