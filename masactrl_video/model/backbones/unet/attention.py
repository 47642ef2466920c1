"""Attention modules of a UNet, opened up: what a layer's tokens ask, offer and give, and how they read the prompt.

Transformers whose blocks have the same two modules are opened so too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import PixArtTransformer2DModel, UNet2DConditionModel
from diffusers.models.attention_processor import Attention

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer, PictureAttention, TextAttention
from masactrl_video.model.backbones.qkv import QKV, split_heads
from masactrl_video.model.backbones.unet.layers import Layer
from masactrl_video.model.backbones.unet.processors import Processor, finished


def processors_for(
    network: UNet2DConditionModel | PixArtTransformer2DModel,
    layers: Sequence[Layer],
    to_picture: Mapping[str, PictureAttention],
    to_text: Mapping[str, Sequence[TextAttention]],
    text_call: type[CrossAttentionCall] | None = None,
) -> dict[str, Processor]:
    """Attention processors by their keys in the network (see `Backbone.attending`).

    Args:
        layers: all of them.
        text_call: what is made of a call of a layer for the text, if another than `CrossAttentionCall`.

    Raises:
        UserError: the network has no layer of a name.
    """
    before = network.attn_processors
    unknown = sorted({*to_picture, *to_text} - {layer.name for layer in layers})
    if unknown:
        raise UserError(f"the network has no attention layer named {unknown[0]!r}")
    found: dict[str, Processor] = {}
    for layer in layers:
        if (attention := to_picture.get(layer.name)) is not None:
            found[layer.self_processor] = _ToPicture(layer, before[layer.self_processor], attention)
        if added := to_text.get(layer.name):
            found[layer.cross_processor] = ToText(
                layer, before[layer.cross_processor], added, text_call or CrossAttentionCall
            )
    return found


class _ToPicture:
    """diffusers attention processor: self-attention as `attention` has it, or else the original."""

    def __init__(self, layer: AttentionLayer, original: Processor, attention: PictureAttention) -> None:
        self.layer, self.original, self.attention = layer, original, attention

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        attended = self.attention(self.layer, _opened(attn, hidden_states))
        if attended is None:
            plain: torch.Tensor = self.original(attn, hidden_states, *args, **kwargs)
            return plain
        return finished(attn, attended, hidden_states)


def _opened(attn: Attention, hidden_states: torch.Tensor) -> QKV:
    return QKV(
        lambda: split_heads(attn.to_q(hidden_states), attn.heads),
        lambda: split_heads(attn.to_k(hidden_states), attn.heads),
        lambda: split_heads(attn.to_v(hidden_states), attn.heads),
        rows=hidden_states.shape[0],
        tokens=hidden_states.shape[1],
        heads=attn.heads,
        dtype=hidden_states.dtype,
    )


class ToText:
    """diffusers attention processor: the original cross-attention, and what is added to it."""

    def __init__(
        self,
        layer: AttentionLayer,
        original: Processor,
        added: Sequence[TextAttention],
        call: type[CrossAttentionCall],
    ) -> None:
        self.layer, self.original, self.added, self.call = layer, original, added, call

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        out: torch.Tensor = self.original(attn, hidden_states, encoder_hidden_states, *args, **kwargs)
        call = self.call(attn, self.original, hidden_states, encoder_hidden_states, args, kwargs)
        for attention in self.added:
            out = attention(self.layer, call, out)
        return out


class CrossAttentionCall:
    """A `TextCall` of a UNet: cross-attention is a module of its own."""

    def __init__(
        self,
        attn: Attention,
        original: Processor,
        hidden_states: torch.Tensor,
        text_states: torch.Tensor,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> None:
        self._attn, self._original, self._args, self._kwargs = attn, original, args, kwargs or {}
        self._states, self._text = hidden_states, text_states

    @property
    def rows(self) -> int:
        """Branches x frames."""
        return self._states.shape[0]

    def word_map(self, words: Sequence[int], rows: slice, text: torch.Tensor | None = None) -> torch.Tensor:
        """See `TextCall`."""
        read = self._text[rows] if text is None else text
        bias = self._kwargs.get("attention_mask") if text is None else None
        unseen = bias[rows] if isinstance(bias, torch.Tensor) else None
        return object_attention(self._attn, self._states[rows], read, words, unseen)

    def reading(self, last_rows: int, tokens: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """See `TextCall`."""
        states = self._states[-last_rows:, tokens]  # -> (last rows, chosen tokens, channels)
        out: torch.Tensor = self._original(self._attn, states, text, *self._args, **self._kwargs)
        return out


def cross_attention_maps(
    attn: Attention, hidden_states: torch.Tensor, text_states: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """How every pixel's attention is shared out among the words.

    Args:
        hidden_states: (rows, grid tokens, channels), the input of a cross-attention.
        text_states: (rows, text tokens, text channels).
        bias: (rows, 1, text tokens), added to the scores: far below 0 for tokens that only fill up a prompt.

    Returns:
        (rows, heads, grid tokens, text tokens) in float32, summing to 1 over the text tokens.
    """
    if attn.norm_cross:
        text_states = attn.norm_encoder_hidden_states(text_states)
    query = split_heads(attn.to_q(hidden_states).float(), attn.heads)
    key = split_heads(attn.to_k(text_states).float(), attn.heads)
    scores: torch.Tensor = query @ key.transpose(-1, -2) * attn.scale
    return (scores if bias is None else scores + bias[:, None].float()).softmax(dim=-1)


def object_attention(
    attn: Attention,
    hidden_states: torch.Tensor,
    text_states: torch.Tensor,
    tokens: Sequence[int],
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attention of every pixel to the object's words: mean over heads, sum over the words' tokens.

    Args:
        hidden_states: (rows, grid tokens, channels), the input of a cross-attention.
        text_states: (rows, text tokens, text channels).
        tokens: positions of the object's words in the prompt.
        bias: see `cross_attention_maps`.

    Returns:
        (rows, grid tokens) in float32.
    """
    maps = cross_attention_maps(attn, hidden_states, text_states, bias)
    return maps[..., list(tokens)].sum(dim=-1).mean(dim=1)
