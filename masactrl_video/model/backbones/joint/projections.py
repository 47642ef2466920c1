"""From the states of tokens to their queries, keys and values, by the layers of an attention module of diffusers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers.models.attention_processor import Attention

from masactrl_video.model.backbones.qkv import QKV

Projection = Callable[[torch.Tensor], torch.Tensor]

Rotate = Callable[[torch.Tensor], torch.Tensor]
"""Puts the places of tokens into (rows, heads, tokens, head_dim)."""

Place = Callable[[torch.Tensor, tuple[int, int], tuple[int, int]], torch.Tensor]
"""See `QKV.placed`."""

PlaceAt = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""See `QKV.placed_at`."""


@dataclass(frozen=True)
class Projections:
    """The layers by which some tokens of a module make their queries, keys and values."""

    query: Projection
    key: Projection
    value: Projection
    norm_query: Projection | None
    norm_key: Projection | None

    @classmethod
    def of_picture(cls, attn: Attention) -> Projections:
        """Those of the picture's tokens, and where the module has only these, of the text's too."""
        if attn.fused_projections:
            return cls(*_thirds(attn.to_qkv), attn.norm_q, attn.norm_k)
        return cls(attn.to_q, attn.to_k, attn.to_v, attn.norm_q, attn.norm_k)

    @classmethod
    def of_text(cls, attn: Attention) -> Projections:
        """Those of the text's tokens."""
        if attn.added_kv_proj_dim is None:
            return cls.of_picture(attn)
        if attn.fused_projections:
            return cls(*_thirds(attn.to_added_qkv), attn.norm_added_q, attn.norm_added_k)
        return cls(attn.add_q_proj, attn.add_k_proj, attn.add_v_proj, attn.norm_added_q, attn.norm_added_k)


def _thirds(fused: Projection) -> tuple[Projection, Projection, Projection]:
    """Query, key and value of one layer that makes all three."""
    return (
        lambda states: fused(states).chunk(3, dim=-1)[0],
        lambda states: fused(states).chunk(3, dim=-1)[1],
        lambda states: fused(states).chunk(3, dim=-1)[2],
    )


def projected(
    attn: Attention,
    states: torch.Tensor,
    layers: Projections,
    rotate: Rotate | None = None,
    place: Place | None = None,
    place_at: PlaceAt | None = None,
    text: QKV | None = None,
    fill: torch.Tensor | None = None,
    query_after_text: Callable[[], torch.Tensor] | None = None,
    places_differ: bool = False,
) -> QKV:
    """`QKV` of tokens (rows, tokens, channels).

    Args:
        rotate: puts these tokens' places into their queries and keys; None: they have none.
        place: puts places into recorded keys, and `place_at` a place for each token.
        text: that of the prompt's tokens, which stand in the same softmax.
        fill, places_differ: see `QKV`.
        query_after_text: gives the queries of text and picture, where the two can be made at once.
    """

    def key() -> torch.Tensor:
        return normed(attn, layers.key(states), layers.norm_key)

    def rotated(made: torch.Tensor) -> torch.Tensor:
        return made if rotate is None else rotate(made)

    return QKV(
        lambda: rotated(normed(attn, layers.query(states), layers.norm_query)),
        lambda: rotated(key()),
        lambda: normed(attn, layers.value(states), None),
        rows=states.shape[0],
        tokens=states.shape[1],
        heads=attn.heads,
        dtype=states.dtype,
        unplaced_key=key,
        place=place,
        place_at=place_at,
        text=text,
        fill=fill,
        query_after_text=query_after_text,
        places_differ=places_differ,
    )


def normed(attn: Attention, made: torch.Tensor, norm: Projection | None) -> torch.Tensor:
    """(rows, tokens, channels), what a projection made → (rows, heads, tokens, head_dim), with the layer's norm."""
    by_head = made.reshape(*made.shape[:-1], attn.heads, -1)  # -> (rows, tokens, heads, head_dim)
    return (by_head if norm is None else norm(by_head)).transpose(1, 2)
