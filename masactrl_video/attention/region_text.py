"""Cross-attention of a picture whose regions have prompts of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers.models.attention_processor import Attention

from masactrl_video.attention.masks import binary_mask
from masactrl_video.model.backbones.unet.layers import Layer
from masactrl_video.model.backbones.unet.processors import Processor

RegionPrompt = tuple[torch.Tensor, torch.Tensor]
"""A region (height, width) bool on the latent grid, and the prompt read there (1, text tokens, channels)."""


class ReadByRegion:
    """Cross-attention whose conditional rows read, inside a region, that region's prompt instead of the picture's.

    Mutual self-attention takes a look from a source, but what a figure is said to be comes from the text: a picture's
    prompt that names two figures says both of them everywhere.
    """

    def __init__(
        self,
        layer: Layer,
        original: Processor,
        branches: Sequence[str],
        latent_size: Callable[[], tuple[int, int]],
        prompts: Sequence[RegionPrompt],
    ) -> None:
        self.layer, self.original, self.branches = layer, original, branches
        self.latent_size, self.prompts = latent_size, prompts

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        out: torch.Tensor = self.original(attn, hidden_states, encoder_hidden_states, *args, **kwargs)
        frames = hidden_states.shape[0] // len(self.branches)
        conditional = out[-frames:].clone()  # the last branch
        for region, text in self.prompts:
            inside = binary_mask(region[None], 0.5, self.layer.grid(self.latent_size()))[0]
            if bool(inside.any()):
                states = hidden_states[-frames:, inside]  # -> (frames, tokens inside, channels)
                conditional[:, inside] = self.original(attn, states, text.expand(frames, -1, -1), *args, **kwargs)
        return torch.cat([out[:-frames], conditional])
