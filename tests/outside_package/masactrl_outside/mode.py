"""An attention mode of somebody else: the frame's own attention and the source's, half and half."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from masactrl_video.attention.modes.base import FrameState, SourceView, joined
from masactrl_video.model.backbones.qkv import QKV, by_branch, merge_heads


class HalfAndHalf:
    """The mean of two attentions, each with a softmax of its own."""

    name = "half-and-half"
    needs = frozenset({"own"})

    def attend(self, qkv: QKV, sources: Sequence[SourceView], frame: FrameState) -> torch.Tensor:
        """(rows, tokens, heads x head_dim)."""
        query = by_branch(qkv.query, frame.branches)  # -> (branches, frames, heads, tokens, head_dim)
        key, value, log_weights = joined(sources)
        theirs = F.scaled_dot_product_attention(query, key[:, None], value[:, None], log_weights).flatten(0, 1)
        own = F.scaled_dot_product_attention(qkv.query, qkv.key, qkv.value)
        if frame.is_last:
            frame.tell_share(torch.full((qkv.rows // frame.branches,), 0.5, device=own.device))
        return merge_heads((own + theirs) / 2)
