"""Prompts as FLUX reads them: one text encoder's summary, and the other's tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import FluxPipeline

from masactrl_video.model.backbones.base import LoadedModel
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.unread import libraries_leave_it_to_us

_MOST_TOKENS = 512
"""diffusers' pipelines take no more."""


@dataclass(frozen=True)
class FluxText(TextCondition):
    """Prompts of the branches of one call."""

    pooled: torch.Tensor | None = None
    """(branches, channels)."""
    guidance: torch.Tensor | None = None
    """(branches,), the scale that networks of distilled guidance read."""

    def for_frames(self, frames: int) -> dict[str, object]:
        """Keyword arguments of a call on branches x frames rows, branch by branch."""
        assert self.pooled is not None
        hidden = self.rows(frames)
        return {
            "encoder_hidden_states": hidden,
            "pooled_projections": self.pooled.repeat_interleave(frames, dim=0),
            "txt_ids": hidden.new_zeros(hidden.shape[1], 3),
        }

    def guidance_rows(self, frames: int) -> torch.Tensor | None:
        """The scale for each row."""
        return None if self.guidance is None else self.guidance.repeat_interleave(frames, dim=0)


def max_tokens(pipe: FluxPipeline) -> int:
    """Tokens of a prompt: as many as the tokenizer says, and as the model was made for where that is told."""
    return min(int(pipe.tokenizer_2.model_max_length), _MOST_TOKENS)


@torch.no_grad()
def encode_prompt(model: LoadedModel, prompts: list[str], guidance_scale: float) -> FluxText:
    """Encode the prompts of all branches.

    Args:
        prompts: one for each branch.
        guidance_scale: what networks of distilled guidance read.
    """
    pipe: Any = model.pipe
    with libraries_leave_it_to_us():
        encoded = [
            pipe.encode_prompt(prompt, device=model.device, max_sequence_length=max_tokens(pipe)) for prompt in prompts
        ]
    hidden, pooled = (torch.cat([one[part] for one in encoded]).to(model.dtype) for part in (0, 1))
    guidance = torch.full([len(prompts)], guidance_scale, device=model.device, dtype=torch.float32)
    return FluxText(hidden, pooled, guidance)
