"""Mutual self-attention as arithmetic: tensors in, tensors out (MasaCtrl, Sec. 4.1 and 4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F


def source_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Eq. 5: all target queries attend to the source's keys and values.

    Args:
        query: (branches, heads, frames x tokens, head_dim). The frames share the source, so they are one long query.
        key, value: (branches, heads, source tokens, head_dim).
    """
    return F.scaled_dot_product_attention(query, key, value)


def union_attention(
    query: torch.Tensor,
    own_key: torch.Tensor,
    own_value: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
) -> torch.Tensor:
    """Each frame attends to its own tokens and to the source's, in one softmax.

    Args:
        query, own_key, own_value: (branches, frames, heads, tokens, head_dim).
        key, value: (branches, heads, source tokens, head_dim).
    """
    branches, frames = query.shape[:2]
    both_keys = torch.cat([own_key, key.unsqueeze(1).expand(-1, frames, -1, -1, -1)], dim=3)
    both_values = torch.cat([own_value, value.unsqueeze(1).expand(-1, frames, -1, -1, -1)], dim=3)
    out = F.scaled_dot_product_attention(
        query.flatten(0, 1), both_keys.flatten(0, 1), both_values.flatten(0, 1)
    )  # -> (branches x frames, heads, tokens, head_dim)
    return out.reshape(branches, frames, *out.shape[1:])


def source_share(query: torch.Tensor, own_key: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """How much of `union_attention` goes to the source's keys: (frames,) in [0, 1], estimated from 64 queries a frame.

    Args:
        query, own_key, key: as in `union_attention`.
    """
    some = query[..., :: max(1, query.shape[-2] // 64), :].float() / query.shape[-1] ** 0.5
    own = torch.logsumexp(some @ own_key.float().transpose(-1, -2), dim=-1)
    source = torch.logsumexp(some @ key.float().transpose(-1, -2).unsqueeze(1), dim=-1)
    return torch.sigmoid(source - own).mean(dim=(0, 2, 3))


@dataclass(frozen=True)
class Sides:
    """Tokens put in order: those of the figure first, then those of the ground."""

    order: torch.Tensor
    """Position of each token of the order in the picture."""
    figure: int
    """How many are the figure's."""

    @classmethod
    def of(cls, mask: torch.Tensor) -> Sides:
        """From a binary mask (tokens,), of several frames one after the other: True is the figure."""
        return cls(torch.cat([mask.nonzero(), (~mask).nonzero()]).squeeze(1), int(mask.sum()))

    def slices(self) -> tuple[slice, slice]:
        """Figure and ground in the order."""
        return slice(0, self.figure), slice(self.figure, len(self.order))

    @cached_property
    def back(self) -> torch.Tensor:
        """Position in the order of each token of the picture."""
        back = torch.empty_like(self.order)
        back[self.order] = torch.arange(len(self.order), device=self.order.device)
        return back


def masked_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, target: Sides, source: Sides
) -> torch.Tensor:
    """Eq. 6-8: figure queries attend to the source's figure, ground queries to its ground.

    With binary masks, blending two full attentions (Eq. 8) equals letting query i see only the keys j with
    `source_mask[j] == target_mask[i]`: two smaller attentions on gathered rows. A side that the source does not have at
    all (an empty figure, say) would leave its queries without a key: they attend to the whole source.

    Args:
        query: (branches, heads, frames x tokens, head_dim).
        key, value: (branches, heads, source tokens, head_dim).
    """
    query = _gathered(query, target.order)
    if 0 < source.figure < len(source.order):
        key, value = _gathered(key, source.order), _gathered(value, source.order)
        seen = source.slices()
    else:
        seen = (slice(None), slice(None))
    attended = [
        F.scaled_dot_product_attention(query[:, :, queries], key[:, :, keys], value[:, :, keys]).transpose(1, 2)
        for queries, keys in zip(target.slices(), seen, strict=True)
        if queries.stop > queries.start
    ]
    return torch.cat(attended, dim=1).index_select(1, target.back).transpose(1, 2)


def _gathered(states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Some tokens of (branches, heads, tokens, head_dim); all heads of a token lie together in memory."""
    return states.transpose(1, 2).index_select(1, tokens).transpose(1, 2)
