"""Attention of a picture with several sources: each region queries its own (tensors in, tensors out)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

GROUND = -1
"""Owner of a token that belongs to no source's object."""


def attention_by_region(
    query: torch.Tensor,
    own_key: torch.Tensor,
    own_value: torch.Tensor,
    sources: Sequence[tuple[torch.Tensor, torch.Tensor]],
    owner: torch.Tensor,
    ground: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Eq. 6-8 of MasaCtrl with several figures: a query of region i attends to the keys of source i and no others.

    Queries are gathered by their owner, so that each region is one exact, smaller attention; no matrix is masked.

    Args:
        query, own_key, own_value: (branches, frames, heads, tokens, head_dim).
        sources: key and value (branches, heads, source tokens, head_dim) of each source, already cut to its figure.
        owner: (frames, tokens), the number of a source, or `GROUND`.
        ground: key and value (branches, heads, ground tokens, head_dim) for the queries that no source owns; None:
            they attend to all tokens of their own frame, the ordinary self-attention.

    Returns:
        (branches, frames, heads, tokens, head_dim).
    """
    out = torch.empty_like(query)
    by_token = query.transpose(2, 3)  # -> (branches, frames, tokens, heads, head_dim)
    shared = list(enumerate(sources)) + ([(GROUND, ground)] if ground is not None else [])
    for number, (key, value) in shared:
        frames, tokens = (owner == number).nonzero(as_tuple=True)
        if len(frames):
            queries = by_token[:, frames, tokens].transpose(1, 2)  # -> (branches, heads, gathered tokens, head_dim)
            attended = F.scaled_dot_product_attention(queries, key, value)
            out[:, frames, :, tokens] = attended.permute(2, 0, 1, 3)  # two lists of indices: their axis comes first
    if ground is None:
        for frame, tokens in ((f, (row == GROUND).nonzero().squeeze(1)) for f, row in enumerate(owner)):
            if len(tokens):
                queries = query[:, frame, :, tokens]
                out[:, frame, :, tokens] = F.scaled_dot_product_attention(
                    queries, own_key[:, frame], own_value[:, frame]
                )
    return out


def owners(scores: torch.Tensor, threshold: float) -> torch.Tensor:
    """Who owns a token: the source with the highest score there, if that reaches `threshold`; else the ground.

    Args:
        scores: (sources, frames, tokens) in [0, 1]; 0 where a source may not be at all. Of equal scores the first wins.

    Returns:
        (frames, tokens), the number of a source or `GROUND`.
    """
    best, number = scores.max(dim=0)
    return torch.where((best >= threshold) & (best > 0), number, GROUND)
