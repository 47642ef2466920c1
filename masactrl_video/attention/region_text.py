"""How a picture whose regions have prompts of their own reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from masactrl_video.attention.masks import binary_mask
from masactrl_video.model.backbones.base import AttentionLayer, TextCall

RegionPrompt = tuple[torch.Tensor | Callable[[tuple[int, int]], torch.Tensor], torch.Tensor]
"""A region (height, width) bool on the latent grid, or what gives each frame's own on a layer's grid, (frames, tokens)
bool; and the prompt read there (1, text tokens, channels)."""


class ReadByRegion:
    """Attention to the text whose conditional rows read, inside a region, that region's prompt, not the picture's.

    Mutual self-attention takes a look from a source, but what a figure is said to be comes from the text: a picture's
    prompt that names two figures says both of them everywhere.
    """

    def __init__(
        self, branches: Sequence[str], latent_size: Callable[[], tuple[int, int]], prompts: Sequence[RegionPrompt]
    ) -> None:
        self.branches, self.latent_size, self.prompts = branches, latent_size, prompts

    def __call__(self, layer: AttentionLayer, call: TextCall, out: torch.Tensor) -> torch.Tensor:
        """A `TextAttention`."""
        frames = call.rows // len(self.branches)
        conditional = out[-frames:].clone()  # the last branch
        for region, text in self.prompts:
            grid = layer.grid(self.latent_size())
            if not isinstance(region, torch.Tensor):
                own = region(grid)  # each frame has another number of tokens: all are asked, and some taken
                read = call.reading(frames, torch.ones_like(own[0]), text.expand(frames, -1, -1))
                conditional = torch.where(own[..., None], read, conditional)
                continue
            inside = binary_mask(region[None], 0.5, grid)[0]
            if bool(inside.any()):
                conditional[:, inside] = call.reading(frames, inside, text.expand(frames, -1, -1))
        return torch.cat([out[:-frames], conditional])
