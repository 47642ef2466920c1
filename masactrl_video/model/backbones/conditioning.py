"""The prompts of one call of the denoiser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import torch

from masactrl_video.model.backbones.branches import GUIDED, UNGUIDED, Branch


@dataclass(frozen=True)
class TextCondition:
    """Prompts of the branches of one call of the denoiser, one row a branch.

    A family whose denoiser reads more than this adds fields: tensors whose first axis is the branches, or None.
    """

    hidden_states: torch.Tensor
    """(branches, text tokens, channels)."""
    _rows: dict[int, torch.Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Frames of a batch → hidden states of its rows."""

    @property
    def branches(self) -> int:
        """Number of branches."""
        return self.hidden_states.shape[0]

    @property
    def names(self) -> Sequence[Branch]:
        """The branches in their order."""
        return GUIDED if self.branches == 2 else UNGUIDED

    def rows(self, frames: int) -> torch.Tensor:
        """Hidden states of branches x frames rows, branch by branch; the same object each time."""
        if frames not in self._rows:
            self._rows[frames] = self.hidden_states.repeat_interleave(frames, dim=0)
        return self._rows[frames]

    def has_rows(self, hidden_states: torch.Tensor | None) -> bool:
        """Whether these very hidden states came from `rows`."""
        return any(hidden_states is rows for rows in self._rows.values())

    def tensors(self) -> dict[str, torch.Tensor | None]:
        """All that the denoiser reads, by the names of the fields."""
        return {part.name: getattr(self, part.name) for part in fields(self) if part.init}

    def in_float32(self) -> Self:
        """The same in single precision."""
        return self._changed({name: t.to(torch.float32) for name, t in self.tensors().items() if t is not None})

    def branch(self, index: int) -> Self:
        """One branch alone."""
        return self._changed({name: t[index : index + 1] for name, t in self.tensors().items() if t is not None})

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The branches of several, one after the other."""
        named = [part.tensors() for part in parts]
        both = {name: [each[name] for each in named] for name, first in named[0].items() if first is not None}
        return parts[0]._changed(
            {name: torch.cat([t for t in tensors if t is not None]) for name, tensors in both.items()}
        )

    def branches_are_equal(self) -> bool:
        """Whether all branches read the same, so that one of them serves for all."""
        return all(t is None or bool((t == t[:1]).all()) for t in self.tensors().values())

    def _changed(self, tensors: dict[str, Any]) -> Self:
        return replace(self, **tensors)
