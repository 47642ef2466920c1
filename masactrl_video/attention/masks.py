"""Object maps from cross-attention, and the masks made of them (MasaCtrl, Sec. 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention

from masactrl_video.model.backbones.unet.processors import split_heads


def cross_attention_maps(attn: Attention, hidden_states: torch.Tensor, text_states: torch.Tensor) -> torch.Tensor:
    """How every pixel's attention is shared out among the words.

    Args:
        hidden_states: (rows, grid tokens, channels), the input of a cross-attention.
        text_states: (rows, text tokens, text channels).

    Returns:
        (rows, heads, grid tokens, text tokens) in float32, summing to 1 over the text tokens.
    """
    if attn.norm_cross:
        text_states = attn.norm_encoder_hidden_states(text_states)
    query = split_heads(attn.to_q(hidden_states).float(), attn.heads)
    key = split_heads(attn.to_k(text_states).float(), attn.heads)
    scores: torch.Tensor = query @ key.transpose(-1, -2) * attn.scale
    return scores.softmax(dim=-1)


def object_attention(
    attn: Attention, hidden_states: torch.Tensor, text_states: torch.Tensor, tokens: Sequence[int]
) -> torch.Tensor:
    """Attention of every pixel to the object's words: mean over heads, sum over the words' tokens.

    Args:
        hidden_states: (rows, grid tokens, channels), the input of a cross-attention.
        text_states: (rows, text tokens, text channels).
        tokens: positions of the object's words in the prompt.

    Returns:
        (rows, grid tokens) in float32.
    """
    maps = cross_attention_maps(attn, hidden_states, text_states)
    return maps[..., list(tokens)].sum(dim=-1).mean(dim=1)


def normalised(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Mean over the layers, then min-max normalised for each row by itself: (rows, height, width) in [0, 1].

    A map that is the same everywhere shows no object and becomes all zeros.
    """
    mean = torch.stack(list(maps)).mean(dim=0)
    low, high = mean.amin(dim=(1, 2), keepdim=True), mean.amax(dim=(1, 2), keepdim=True)
    return torch.where(high > low, (mean - low) / (high - low).clamp_min(torch.finfo(mean.dtype).tiny), 0.0)


def binary_mask(object_map: torch.Tensor, threshold: float, grid: tuple[int, int]) -> torch.Tensor:
    """Resize (nearest) to a layer's grid and cut at `threshold`: (rows, height, width) -> bool (rows, grid tokens)."""
    resized = F.interpolate(object_map[:, None].float(), size=grid, mode="nearest")  # -> (rows, 1, *grid)
    return (resized >= threshold).flatten(1)


@dataclass(frozen=True)
class MaskRule:
    """Where the masks of the masked mode come from."""

    target_tokens: tuple[int, ...] = ()
    """Positions of the object's words in the target's prompt; empty where the target's masks are given."""
    threshold: float = 0.1
    """Normalised attention from which a pixel belongs to the object (MasaCtrl, Sec. 4.2)."""
    source_mask: torch.Tensor | None = None
    """(height, width) bool on the latent grid: a given mask instead of the source's recorded object maps."""
