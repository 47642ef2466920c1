"""Prompts as the UNet reads them, for SD-1.x, SD-2.x and SDXL alike."""

from __future__ import annotations

import torch

from masactrl_video.model.backbones.base import LoadedModel
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.unread import libraries_leave_it_to_us


@torch.no_grad()
def encode_prompt(
    model: LoadedModel, prompt: str, negative_prompt: str, guided: bool, size_px: tuple[int, int]
) -> TextCondition:
    """See `Backbone.encode_prompt`."""
    with libraries_leave_it_to_us():
        encoded = model.pipe.encode_prompt(
            prompt,
            device=model.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=guided,
            negative_prompt=negative_prompt or None,  # as in a plain call: SDXL has an embedding of its own for "none"
        )
    conditional, unconditional = encoded[0], encoded[1]
    hidden = torch.cat([unconditional, conditional]) if guided else conditional
    if len(encoded) == 2:
        return TextCondition(hidden.to(model.dtype))
    pooled = torch.cat([encoded[3], encoded[2]]) if guided else encoded[2]
    time_ids = torch.tensor([[*size_px, 0, 0, *size_px]], dtype=model.dtype, device=model.device)
    return TextCondition(hidden.to(model.dtype), pooled.to(model.dtype), time_ids.repeat(hidden.shape[0], 1))
