"""A figure that follows sources, in front of a ground that does not: tensors in, tensors out."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from masactrl_video.attention.mutual import Sides


def own_ground_attention(
    query: torch.Tensor,
    ground_key: torch.Tensor,
    ground_value: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    target: Sides,
    source: Sides,
    log_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Figure queries attend to the sources' figure (Eq. 6), ground queries to the ground of their own frame.

    Queries of the target's rim attend to both, in one softmax. No ground query sees a key of its frame's figure.

    Args:
        query: (branches, frames, heads, tokens, head_dim).
        ground_key, ground_value: the same shape, of each frame itself, or of another picture whose figure stands where
            the frame's does.
        key, value: (branches, heads, source tokens, head_dim).
        target: of all frames, one after the other (frames x tokens).
        log_weights: (source tokens,), see `source_attention`.

    Returns:
        (branches, frames, heads, tokens, head_dim).
    """
    frames, tokens = query.shape[1], query.shape[3]
    seen = source.order[source.answering()[0]]
    key, value = key[:, :, seen], value[:, :, seen]
    bias = None if log_weights is None else log_weights[seen][None, None, None]  # for all queries alike
    figure = target.mask.reshape(frames, tokens)
    rim = (figure & False) if target.rim is None else target.rim.reshape(frames, tokens)
    out = torch.empty_like(query)
    if figure.any():
        which = figure.nonzero(as_tuple=True)
        asked = query.transpose(2, 3)[:, which[0], which[1]].transpose(1, 2)  # -> (branches, heads, gathered, head_dim)
        attended = F.scaled_dot_product_attention(asked, key, value, bias)
        out[:, which[0], :, which[1]] = attended.permute(2, 0, 1, 3)  # two lists of indices: their axis comes first
    for frame in range(frames):
        ground = ~figure[frame]
        of_ground = [states[:, frame][:, :, ground] for states in (ground_key, ground_value)]
        _attend(out, query, frame, ground & ~rim[frame], of_ground[0], of_ground[1], None)
        if rim[frame].any():
            both = [torch.cat(pair, dim=2) for pair in zip(of_ground, (key, value), strict=True)]
            own_bias = None if bias is None else F.pad(bias, (of_ground[0].shape[2], 0))  # its own keys count once
            _attend(out, query, frame, rim[frame], both[0], both[1], own_bias)
    return out


def _attend(
    out: torch.Tensor,
    query: torch.Tensor,
    frame: int,
    tokens: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bias: torch.Tensor | None,
) -> None:
    """Write what some tokens of a frame attend to."""
    places = tokens.nonzero().squeeze(1)
    if len(places):
        out[:, frame, :, places] = F.scaled_dot_product_attention(query[:, frame, :, places], key, value, bias)
