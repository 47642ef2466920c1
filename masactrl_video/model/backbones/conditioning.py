"""The prompts of one call of the denoiser."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class TextCondition:
    """Prompts of the branches of one UNet call, one row a branch."""

    hidden_states: torch.Tensor
    """(branches, text tokens, channels)."""
    pooled: torch.Tensor | None = None
    """(branches, channels); SDXL only."""
    time_ids: torch.Tensor | None = None
    """(branches, 6): original size, crop, target size; SDXL only."""
    _rows: dict[int, torch.Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Frames of a batch → hidden states of its rows."""

    @property
    def branches(self) -> int:
        """Number of branches."""
        return self.hidden_states.shape[0]

    def for_frames(self, frames: int) -> dict[str, Any]:
        """Keyword arguments of a UNet or ControlNet call on branches x frames rows, branch by branch."""
        if frames not in self._rows:
            self._rows[frames] = self.hidden_states.repeat_interleave(frames, dim=0)
        arguments: dict[str, Any] = {"encoder_hidden_states": self._rows[frames]}
        if self.pooled is not None and self.time_ids is not None:
            arguments["added_cond_kwargs"] = {
                "text_embeds": self.pooled.repeat_interleave(frames, dim=0),
                "time_ids": self.time_ids.repeat_interleave(frames, dim=0),
            }
        return arguments

    def has_rows(self, hidden_states: torch.Tensor | None) -> bool:
        """Whether these very hidden states came from `for_frames`."""
        return any(hidden_states is rows for rows in self._rows.values())

    def in_float32(self) -> TextCondition:
        """The same in single precision."""
        return TextCondition(*(None if t is None else t.to(torch.float32) for t in self._tensors()))  # type: ignore[arg-type]

    def branch(self, index: int) -> TextCondition:
        """One branch alone."""
        return TextCondition(*(None if t is None else t[index : index + 1] for t in self._tensors()))  # type: ignore[arg-type]

    def branches_are_equal(self) -> bool:
        """Whether all branches read the same, so that one of them serves for all."""
        return all(t is None or bool((t == t[:1]).all()) for t in self._tensors())

    def _tensors(self) -> tuple[torch.Tensor | None, ...]:
        return self.hidden_states, self.pooled, self.time_ids
