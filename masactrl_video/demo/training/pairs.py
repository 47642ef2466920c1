"""Two pictures of one character whose self-attention sees both, as if they hung side by side.

Large models have seen so many pictures that their self-attention looks for what belongs together, which is what
MasaCtrl lives on. A model of this size does not come to it by itself: its convolutions see the whole picture anyway.
So it learns from pairs that only the self-attention connects. The UNet itself and its use stay the ordinary ones.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor
from torch.nn import functional as F

Sight = Literal["both", "first"]
"""both: each picture of a pair sees the two; first: the second sees only the first, which sees itself."""


class _PairAttention:
    """diffusers attention processor for rows that are the first pictures of all pairs, then the second ones."""

    def __init__(self, sight: Sight) -> None:
        self.sight = sight

    def __call__(self, attn: Attention, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        rows, tokens, _channels = hidden_states.shape
        query, key, value = (
            project(hidden_states).reshape(rows, tokens, attn.heads, -1).transpose(1, 2)
            for project in (attn.to_q, attn.to_k, attn.to_v)
        )  # -> (rows, heads, tokens, head_dim)
        out = F.scaled_dot_product_attention(query, self._seen(key), self._seen(value))
        return attn.to_out[1](attn.to_out[0](out.transpose(1, 2).reshape(rows, tokens, -1)))  # type: ignore[no-any-return]

    def _seen(self, states: Tensor) -> Tensor:
        first, second = states.chunk(2)
        if self.sight == "first":
            return torch.cat([first, first])
        return torch.cat([first, second], dim=2).repeat(2, 1, 1, 1)


@contextmanager
def seen_in_pairs(unet: UNet2DConditionModel, sight: Sight) -> Iterator[None]:
    """Connects the self-attention of pairs: everywhere for ``both``, on the way up (as MasaCtrl does) for ``first``."""
    before = unet.attn_processors
    part = "up_blocks" if sight == "first" else ""
    pair = _PairAttention(sight)
    connected = {
        name: pair if name.startswith(part) and ".attn1." in name else processor for name, processor in before.items()
    }
    unet.set_attn_processor(connected)
    try:
        yield
    finally:
        unet.set_attn_processor(dict(before))
