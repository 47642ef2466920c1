"""Mutual self-attention as arithmetic: tensors in, tensors out (MasaCtrl, Sec. 4.1 and 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F


def source_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, log_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Eq. 5: all target queries attend to the source's keys and values.

    Args:
        query: (branches, heads, frames x tokens, head_dim). The frames share the source, so they are one long query.
        key, value: (branches, heads, source tokens, head_dim).
        log_weights: (source tokens,), added to the scores: the logarithm of how many times each key counts.
    """
    return F.scaled_dot_product_attention(query, key, value, _to_all(log_weights))


def union_attention(
    query: torch.Tensor,
    own_key: torch.Tensor,
    own_value: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    log_weights: torch.Tensor | None = None,
    own_scores: torch.Tensor | None = None,
) -> torch.Tensor:
    """Each frame attends to its own tokens and to the source's, in one softmax.

    Args:
        query, own_key, own_value: (branches, frames, heads, tokens, head_dim).
        key, value: (branches, heads, source tokens, head_dim).
        log_weights: see `source_attention`.
        own_scores: (branches x frames, tokens or 1, own keys), added to the scores of the frame's own keys.
    """
    branches, frames = query.shape[:2]
    if log_weights is not None:
        log_weights = F.pad(log_weights, (own_key.shape[3], 0))  # the frame's own keys count once
    added = _to_all(log_weights)
    if own_scores is not None:
        of_own = F.pad(own_scores, (0, key.shape[2]))[:, None]
        added = of_own if added is None else of_own + added
    both_keys = torch.cat([own_key, key.unsqueeze(1).expand(-1, frames, -1, -1, -1)], dim=3)
    both_values = torch.cat([own_value, value.unsqueeze(1).expand(-1, frames, -1, -1, -1)], dim=3)
    out = F.scaled_dot_product_attention(
        query.flatten(0, 1), both_keys.flatten(0, 1), both_values.flatten(0, 1), added
    )  # -> (branches x frames, heads, tokens, head_dim)
    return out.reshape(branches, frames, *out.shape[1:])


def source_share(
    query: torch.Tensor,
    own_key: torch.Tensor,
    key: torch.Tensor,
    log_weights: torch.Tensor | None = None,
    own_scores: torch.Tensor | None = None,
) -> torch.Tensor:
    """How much of `union_attention` goes to the source's keys: (frames,) in [0, 1], estimated from 64 queries a frame.

    Args:
        query, own_key, key, log_weights: as in `union_attention`.
        own_scores: (branches, frames, 1, own keys), added to the scores of the frame's own keys.
    """
    some = query[..., :: max(1, query.shape[-2] // 64), :].float() / query.shape[-1] ** 0.5
    own_scored = some @ own_key.float().transpose(-1, -2)
    own = torch.logsumexp(own_scored if own_scores is None else own_scored + own_scores[:, :, None], dim=-1)
    scores = some @ key.float().transpose(-1, -2).unsqueeze(1)
    source = torch.logsumexp(scores if log_weights is None else scores + log_weights.float(), dim=-1)
    return torch.sigmoid(source - own).mean(dim=(0, 2, 3))


@dataclass(frozen=True, eq=False)
class Sides:
    """Tokens of figure and ground, and an order in which those of the figure come first."""

    mask: torch.Tensor
    """(tokens,) bool, of several frames one after the other: True is the figure."""
    rim: torch.Tensor | None = None
    """(tokens,) bool: tokens around the figure, none of it, that both sides may ask; None: there are none."""

    @cached_property
    def order(self) -> torch.Tensor:
        """Position of each token of the order in the picture: the figure, its rim, the rest of the ground."""
        if self.rim is None:
            return torch.cat([self.mask.nonzero(), (~self.mask).nonzero()]).squeeze(1)
        ground = ~(self.mask | self.rim)
        return torch.cat([self.mask.nonzero(), self.rim.nonzero(), ground.nonzero()]).squeeze(1)

    @cached_property
    def figure(self) -> int:
        """How many tokens are the figure's."""
        return int(self.mask.sum())

    @cached_property
    def figure_and_rim(self) -> int:
        """How many are the figure's or its rim's."""
        return self.figure if self.rim is None else self.figure + int(self.rim.sum())

    def asking(self) -> tuple[slice, slice, slice]:
        """Figure, rim and the rest in the order: queries that are answered alike."""
        return (
            slice(0, self.figure),
            slice(self.figure, self.figure_and_rim),
            slice(self.figure_and_rim, len(self.order)),
        )

    def answering(self) -> tuple[slice, slice, slice]:
        """What figure, rim and the rest of another picture see of this one: the rim belongs to both sides."""
        if not 0 < self.figure < len(self.order):
            return slice(None), slice(None), slice(None)
        return slice(0, self.figure_and_rim), slice(None), slice(self.figure, len(self.order))

    @cached_property
    def back(self) -> torch.Tensor:
        """Position in the order of each token of the picture."""
        back = torch.empty_like(self.order)
        back[self.order] = torch.arange(len(self.order), device=self.order.device)
        return back


def masked_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    target: Sides,
    source: Sides,
    log_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Eq. 6-8: figure queries attend to the source's figure, ground queries to its ground.

    With binary masks, blending two full attentions (Eq. 8) equals letting query i see only the keys j with
    `source_mask[j] == target_mask[i]`: two smaller attentions on gathered rows. A side that the source does not have at
    all (an empty figure, say) would leave its queries without a key: they attend to the whole source. Rims belong to
    both sides: the target's attends to the whole source, the source's is attended to by all.

    Args:
        query: (branches, heads, frames x tokens, head_dim).
        key, value: (branches, heads, source tokens, head_dim).
        log_weights: see `source_attention`.
    """
    query, seen = _gathered(query, target.order), source.answering()
    if 0 < source.figure < len(source.order):
        key, value = _gathered(key, source.order), _gathered(value, source.order)
        log_weights = None if log_weights is None else log_weights[source.order]
    attended = [
        F.scaled_dot_product_attention(
            query[:, :, queries],
            key[:, :, keys],
            value[:, :, keys],
            None if log_weights is None else _to_all(log_weights[keys]),
        ).transpose(1, 2)
        for queries, keys in zip(target.asking(), seen, strict=True)
        if queries.stop > queries.start
    ]
    return torch.cat(attended, dim=1).index_select(1, target.back).transpose(1, 2)


def _gathered(states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Some tokens of (branches, heads, tokens, head_dim); all heads of a token lie together in memory."""
    return states.transpose(1, 2).index_select(1, tokens).transpose(1, 2)


def _to_all(log_weights: torch.Tensor | None) -> torch.Tensor | None:
    """(source tokens,) → added to the scores of all queries, heads and branches alike."""
    return None if log_weights is None else log_weights[None, None, None]


def attention_by_region(
    query: torch.Tensor,
    own_key: torch.Tensor,
    own_value: torch.Tensor,
    sources: Sequence[tuple[torch.Tensor, torch.Tensor]],
    regions: Sequence[torch.Tensor],
    ground: tuple[torch.Tensor, torch.Tensor] | None = None,
    text: tuple[torch.Tensor, torch.Tensor, torch.Tensor | None] | None = None,
) -> torch.Tensor:
    """Eq. 6-8 with several figures: a query of region i attends to the keys of source i and no others.

    Queries are gathered by their region, so that each is one exact, smaller attention; no matrix is masked.

    Args:
        query, own_key, own_value: (branches, frames, heads, tokens, head_dim).
        sources: key and value (branches, heads, source tokens, head_dim) of each source, already cut to its figure.
        regions: (frames, tokens) bool for each source; no token is in two of them.
        ground: key and value (branches, heads, ground tokens, head_dim) for the queries that are in no region; None:
            they attend to all tokens of their own frame, the ordinary self-attention.
        text: key and value (branches, frames, heads, text tokens, head_dim) of each frame's prompt, where all queries
            attend to it as well, and what is added to its scores (branches, frames, 1, text tokens), or None.

    Returns:
        (branches, frames, heads, tokens, head_dim).
    """
    out = torch.empty_like(query)
    by_token = query.transpose(2, 3)  # -> (branches, frames, tokens, heads, head_dim)
    outside = ~torch.stack(list(regions)).any(dim=0)
    shared = [*zip(regions, sources, strict=True), *([(outside, ground)] if ground is not None else [])]
    if text is not None:  # each frame has keys of its own
        return _by_region_beside_text(query, own_key, own_value, shared, outside, text)
    for region, (key, value) in shared:
        frames, tokens = region.nonzero(as_tuple=True)
        if len(frames):
            queries = by_token[:, frames, tokens].transpose(1, 2)  # -> (branches, heads, gathered tokens, head_dim)
            attended = F.scaled_dot_product_attention(queries, key, value)
            out[:, frames, :, tokens] = attended.permute(2, 0, 1, 3)  # two lists of indices: their axis comes first
    if ground is None:
        for frame, tokens in ((f, row.nonzero().squeeze(1)) for f, row in enumerate(outside)):
            if len(tokens):
                queries = query[:, frame, :, tokens]
                out[:, frame, :, tokens] = F.scaled_dot_product_attention(
                    queries, own_key[:, frame], own_value[:, frame]
                )
    return out


def _by_region_beside_text(
    query: torch.Tensor,
    own_key: torch.Tensor,
    own_value: torch.Tensor,
    shared: Sequence[tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]],
    outside: torch.Tensor,
    text: tuple[torch.Tensor, torch.Tensor, torch.Tensor | None],
) -> torch.Tensor:
    out, scores = torch.empty_like(query), text[2]
    for frame in range(query.shape[1]):
        own = (outside[frame], (own_key[:, frame], own_value[:, frame]))
        for region, states in (own, *((region[frame], states) for region, states in shared)):
            if tokens := region.nonzero().flatten().tolist():
                key, value = (torch.cat([of[:, frame], s], dim=2) for of, s in zip(text[:2], states, strict=True))
                added = None if scores is None else F.pad(scores[:, frame], (0, states[0].shape[2]))[:, None]
                out[:, frame, :, tokens] = F.scaled_dot_product_attention(query[:, frame, :, tokens], key, value, added)
    return out


def chosen_attention(
    query: torch.Tensor,
    own_key: torch.Tensor,
    own_value: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    log_weights: torch.Tensor | None = None,
    *,
    seen: torch.Tensor,
    own_scores: torch.Tensor | None = None,
) -> torch.Tensor:
    """`union_attention` where each query sees all own keys and some of the source's.

    Args:
        seen: (frames, tokens, source tokens) bool, for all branches alike.
        own_scores: see `union_attention`.
    """
    branches, frames = query.shape[:2]
    bias = torch.zeros(seen.shape, dtype=query.dtype, device=query.device)
    bias = (bias if log_weights is None else bias + log_weights).masked_fill(~seen, -torch.inf)
    bias = F.pad(bias, (own_key.shape[3], 0))  # -> (frames, tokens, own and source tokens)
    bias = bias.repeat(branches, 1, 1)[:, None]
    if own_scores is not None:
        bias = bias + F.pad(own_scores, (0, key.shape[2]))[:, None]
    both_keys = torch.cat([own_key, key.unsqueeze(1).expand(-1, frames, -1, -1, -1)], dim=3)
    both_values = torch.cat([own_value, value.unsqueeze(1).expand(-1, frames, -1, -1, -1)], dim=3)
    out = F.scaled_dot_product_attention(query.flatten(0, 1), both_keys.flatten(0, 1), both_values.flatten(0, 1), bias)
    return out.reshape(branches, frames, *out.shape[1:])
