"""Attention processors that change nothing and keep what passes through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers.models.attention_processor import Attention

from masactrl_video.attention.layers import Layer
from masactrl_video.attention.object_map import object_attention
from masactrl_video.attention.processors import Processor


class KeepKeysValues:
    """Self-attention as before; its keys and values are kept."""

    def __init__(self, layer: Layer, original: Processor, kept: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
        self.layer, self.original, self.kept = layer, original, kept

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.kept[self.layer.name] = (attn.to_k(hidden_states).detach(), attn.to_v(hidden_states).detach())
        out: torch.Tensor = self.original(attn, hidden_states, *args, **kwargs)
        return out


class KeepObjectMap:
    """Cross-attention as before; the attention to the object's words is kept for the conditional rows."""

    def __init__(
        self,
        layer: Layer,
        original: Processor,
        tokens: Sequence[int],
        branches: Sequence[str],
        latent_size: Callable[[], tuple[int, int] | None],
        kept: dict[str, torch.Tensor],
        text: torch.Tensor | None = None,
    ) -> None:
        self.layer, self.original, self.tokens, self.branches = layer, original, tokens, branches
        self.latent_size, self.kept = latent_size, kept
        self.text = text
        """(1, text tokens, channels): the prompt that the words stand in, if it is not the call's own."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        out: torch.Tensor = self.original(attn, hidden_states, encoder_hidden_states, *args, **kwargs)
        size = self.latent_size()
        if size is not None:
            frames = hidden_states.shape[0] // len(self.branches)
            conditional = slice(-frames, None)  # the last branch
            text = encoder_hidden_states[conditional] if self.text is None else self.text.expand(frames, -1, -1)
            maps = object_attention(attn, hidden_states[conditional], text, self.tokens)
            self.kept[self.layer.name] = maps.detach().reshape(-1, *self.layer.grid(size))
        return out
