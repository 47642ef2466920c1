"""Prompts as the UNet reads them, for SD-1.x, SD-2.x and SDXL alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from diffusers import StableDiffusionPipeline

from masactrl_video.model.backbones.base import LoadedModel
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.unread import libraries_leave_it_to_us


@dataclass(frozen=True)
class UNetText(TextCondition):
    """Prompts of the branches of one UNet call."""

    pooled: torch.Tensor | None = None
    """(branches, channels); SDXL only."""
    time_ids: torch.Tensor | None = None
    """(branches, 6): original size, crop, target size; SDXL only."""

    def for_frames(self, frames: int) -> dict[str, object]:
        """Keyword arguments of a UNet or ControlNet call on branches x frames rows, branch by branch."""
        arguments: dict[str, object] = {"encoder_hidden_states": self.rows(frames)}
        if self.pooled is not None and self.time_ids is not None:
            arguments["added_cond_kwargs"] = {
                "text_embeds": self.pooled.repeat_interleave(frames, dim=0),
                "time_ids": self.time_ids.repeat_interleave(frames, dim=0),
            }
        return arguments


@torch.no_grad()
def encode_prompt(
    model: LoadedModel, prompt: str, negative_prompt: str, guided: bool, size_px: tuple[int, int]
) -> UNetText:
    """Encode a prompt, with the negative prompt as first branch when `guided` (see `Backbone.encode_prompt`)."""
    with libraries_leave_it_to_us():
        encoded = cast(StableDiffusionPipeline, model.pipe).encode_prompt(
            prompt,
            device=model.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=guided,
            negative_prompt=negative_prompt or None,  # as in a plain call: SDXL has an embedding of its own for "none"
        )
    conditional, unconditional = encoded[0], encoded[1]
    hidden = torch.cat([unconditional, conditional]) if guided else conditional
    if len(encoded) == 2:
        return UNetText(hidden.to(model.dtype))
    pooled = torch.cat([encoded[3], encoded[2]]) if guided else encoded[2]
    time_ids = torch.tensor([[*size_px, 0, 0, *size_px]], dtype=model.dtype, device=model.device)
    return UNetText(hidden.to(model.dtype), pooled.to(model.dtype), time_ids.repeat(hidden.shape[0], 1))
