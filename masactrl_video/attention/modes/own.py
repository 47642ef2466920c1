"""Our own attention modes; their arithmetic stands in `mutual`.

In a joint layer the frame's own text stands in every softmax. In the mode `source` the text's queries attend to the
source as the picture's do (FreeFlux, which replaces the picture's keys and values for all); in the others they attend
to their own picture (as in CharaConsist).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from masactrl_video.attention.modes.base import (
    AttentionMode,
    FrameState,
    SourceView,
    joined,
    objects_of,
    own_and_text,
    own_scores,
)
from masactrl_video.attention.mutual import (
    Sides,
    attention_by_region,
    chosen_attention,
    masked_attention,
    source_attention,
    union_attention,
)
from masactrl_video.attention.own_ground import own_ground_attention
from masactrl_video.model.backbones.qkv import QKV, as_one_long_query, by_branch, merge_heads
from masactrl_video.settings.modes import OWN_MODES


class SourceMode(AttentionMode):
    """Keys and values of the sources alone (MasaCtrl, Eq. 5)."""

    name = "source"
    needs = OWN_MODES[name].needs
    joint = True

    def attend(self, qkv: QKV, sources: Sequence[SourceView], frame: FrameState) -> torch.Tensor:
        """See `AttentionMode`."""
        if qkv.text is not None or frame.neighbour is not None:  # each frame has keys beside the source's
            beside = own_and_text(qkv, own=False, neighbour=frame.neighbour)
            query, key, value = (by_branch(states, frame.branches) for states in (qkv.query_after_text, *beside))
            scores = own_scores(qkv, own=False, asks_text=True, neighbour=frame.neighbour)
            out = union_attention(query, key, value, *joined(sources, beside_own=True), own_scores=scores)
            return merge_heads(out).flatten(0, 1)
        query = as_one_long_query(qkv.query, frame.branches)  # -> (branches, heads, frames x tokens, head_dim)
        return merge_heads(source_attention(query, *joined(sources))).reshape(qkv.rows, qkv.tokens, -1)


class UnionMode(AttentionMode):
    """Keys and values of the frame and of the sources, in one softmax."""

    name = "union"
    needs = OWN_MODES[name].needs
    joint = True

    def attend(self, qkv: QKV, sources: Sequence[SourceView], frame: FrameState) -> torch.Tensor:
        """See `AttentionMode`."""
        beside = own_and_text(qkv, own=True, neighbour=frame.neighbour)
        query, own_key, own_value = (by_branch(states, frame.branches) for states in (qkv.query, *beside))
        scores = own_scores(qkv, own=True, asks_text=False, neighbour=frame.neighbour)
        out = union_attention(query, own_key, own_value, *joined(sources, beside_own=True), own_scores=scores)
        return merge_heads(out).flatten(0, 1)


class MaskedMode(AttentionMode):
    """Figure to figure, ground to ground (Eq. 6-8)."""

    name = "masked"
    needs = OWN_MODES[name].needs
    joint = True

    def attend(self, qkv: QKV, sources: Sequence[SourceView], frame: FrameState) -> torch.Tensor:
        """See `AttentionMode`."""
        target = frame.object
        if frame.is_last:
            frame.tell_share(target.mask.reshape(-1, qkv.tokens).float().mean(dim=1))
        if frame.background in ("own", "clip"):
            return self._before_own_ground(qkv, sources, frame, target)
        if qkv.text is not None:
            return self._beside_text(qkv, sources, frame, target)
        query = as_one_long_query(qkv.query, frame.branches)
        key, value, log_weights = joined(sources)
        out = masked_attention(query, key, value, target, objects_of(sources, self.name), log_weights)
        return merge_heads(out).reshape(qkv.rows, qkv.tokens, -1)

    def _before_own_ground(
        self, qkv: QKV, sources: Sequence[SourceView], frame: FrameState, target: Sides
    ) -> torch.Tensor:
        """Figure to figure, and the ground to that of its own frame, or of the clip's."""
        query = by_branch(qkv.query, frame.branches)
        states = frame.clip_states() if frame.background == "clip" else (qkv.key, qkv.value)
        ground_key, ground_value = (by_branch(of_ground, frame.branches) for of_ground in states)
        key, value, log_weights = joined(sources)
        figure = objects_of(sources, self.name)
        if qkv.text is not None:
            seen = figure.order[figure.answering()[0]]
            region, cut = target.mask.reshape(-1, qkv.tokens), (key[:, :, seen], value[:, :, seen])
            out = attention_by_region(query, ground_key, ground_value, [cut], [region], text=_text(qkv, frame))
        else:
            out = own_ground_attention(query, ground_key, ground_value, key, value, target, figure, log_weights)
        return merge_heads(out).flatten(0, 1)

    def _beside_text(self, qkv: QKV, sources: Sequence[SourceView], frame: FrameState, target: Sides) -> torch.Tensor:
        """The same with the frame's own text in each softmax."""
        figure = objects_of(sources, self.name)
        seen = target.mask.reshape(-1, qkv.tokens, 1) == figure.mask  # -> (rows of a branch, tokens, source tokens)
        if target.rim is not None:
            seen = seen | target.rim.reshape(-1, qkv.tokens, 1)
        if figure.rim is not None:
            seen = seen | figure.rim
        if not 0 < figure.figure < len(figure.mask):
            seen = torch.ones_like(seen)
        query, own_key, own_value = (
            by_branch(states, frame.branches) for states in (qkv.query, *own_and_text(qkv, own=False))
        )
        scores = own_scores(qkv, own=False, asks_text=False)
        out = chosen_attention(
            query, own_key, own_value, *joined(sources, beside_own=True), seen=seen, own_scores=scores
        )
        return merge_heads(out).flatten(0, 1)


class RegionsMode(AttentionMode):
    """Each region of the frame to the figure of its own source (Eq. 6-8 for several figures)."""

    name = "regions"
    needs = OWN_MODES[name].needs
    joint = True

    def attend(self, qkv: QKV, sources: Sequence[SourceView], frame: FrameState) -> torch.Tensor:
        """See `AttentionMode`. A source without a known figure is its figure as a whole."""
        query, own_key, own_value = _by_branch(qkv, frame)
        figures = [_cut(source, of_figure=True) for source in sources]
        regions = [source.region for source in sources if source.region is not None]
        ground = _cut(sources[0], of_figure=False) if frame.ground == "first" else None
        if frame.is_last:
            in_any = torch.stack(regions).any(dim=0)
            frame.tell_share((in_any | (ground is not None)).float().mean(dim=1))
        if qkv.text is not None:
            out = attention_by_region(query, own_key, own_value, figures, regions, ground, text=_text(qkv, frame))
            return merge_heads(out).flatten(0, 1)
        out = attention_by_region(query, own_key, own_value, figures, regions, ground)
        return merge_heads(out).flatten(0, 1)


def _by_branch(qkv: QKV, frame: FrameState) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Query, key and value, each (branches, frames, heads, tokens, head_dim)."""
    query, key, value = (by_branch(states, frame.branches) for states in (qkv.query, qkv.key, qkv.value))
    return query, key, value


def _text(qkv: QKV, frame: FrameState) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Key and value of each frame's prompt, by branch, and what is added to its scores (see `attention_by_region`)."""
    key, value = (by_branch(states, frame.branches) for states in own_and_text(qkv, own=False))
    scores = own_scores(qkv, own=False, asks_text=False)
    return key, value, None if scores is None else by_branch(scores, frame.branches)


def _cut(source: SourceView, *, of_figure: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values of a source's figure or ground; of the whole source where that is not known, or empty."""
    sides = source.object
    if sides is None or sides.figure == (0 if of_figure else len(sides.mask)):
        return source.key, source.value
    mask = sides.mask if of_figure else ~sides.mask
    if of_figure and sides.rim is not None:
        mask = mask | sides.rim
    return source.key[:, :, mask], source.value[:, :, mask]
