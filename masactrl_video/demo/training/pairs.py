"""Two pictures of one character whose self-attention sees both, and attention that is told where to look.

Large models have seen so many pictures that their self-attention finds what belongs together and their
cross-attention finds what a word names, which is what MasaCtrl lives on. A model of this size does not come to either
by itself: its convolutions see the whole picture anyway. So it learns from pairs that only the self-attention
connects, and the drawn world, which knows the right answer, tells the attention. The UNet itself and its use stay the
ordinary ones.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor
from torch.nn import functional as F

Sight = Literal["both", "first"]
"""both: each picture of a pair sees the two; first: the second sees only the first, which sees itself."""

_TINY = 1e-6


@dataclass(frozen=True)
class Truth:
    """Where attention should look, by the number of cells; layers with other numbers are left alone."""

    matches: dict[int, Tensor]
    """Of pairs: (pairs, cells of the second, cells of the first), rows summing to 1, or 0 where nothing matches."""
    coverage: dict[int, Tensor]
    """Part of each cell that the character covers. (pictures, cells)"""
    object_tokens: Tensor
    """1 at words of the caption that stand for the character. (pictures, tokens)"""


@dataclass
class Watched:
    """How far attention was from the truth, layer by layer."""

    matching: list[Tensor] = field(default_factory=list)
    words: list[Tensor] = field(default_factory=list)

    def losses(self) -> dict[str, Tensor]:
        """The means over the layers."""
        parts = {"matching": self.matching, "words": self.words}
        return {name: torch.stack(layers).mean() for name, layers in parts.items() if layers}


@dataclass(frozen=True)
class _SelfAttention:
    """diffusers attention processor for rows that are the first pictures of all pairs, then the second ones."""

    sight: Sight
    truth: Truth
    watched: Watched

    def __call__(self, attn: Attention, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        query, key, value = _projected(attn, hidden_states, hidden_states)
        if self.sight == "both":
            key, value = (torch.cat(states.chunk(2), dim=2).repeat(2, 1, 1, 1) for states in (key, value))
            return _output(attn, F.scaled_dot_product_attention(query, key, value))
        first_query, second_query = query.chunk(2)
        key, value = key.chunk(2)[0], value.chunk(2)[0]
        first = F.scaled_dot_product_attention(first_query, key, value)
        truth = self.truth.matches.get(hidden_states.shape[1])
        if truth is None:
            second = F.scaled_dot_product_attention(second_query, key, value)
        else:
            looks = _attention(attn, second_query, key)
            self.watched.matching.append(matching_loss(looks.mean(dim=1), truth))
            second = looks @ value
        return _output(attn, torch.cat([first, second]))


@dataclass(frozen=True)
class _CrossAttention:
    """diffusers attention processor that compares how much a cell looks at the object's words with the silhouette."""

    truth: Truth
    watched: Watched

    def __call__(
        self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor, *_: Any, **__: Any
    ) -> Tensor:
        query, key, value = _projected(attn, hidden_states, encoder_hidden_states)
        coverage = self.truth.coverage.get(hidden_states.shape[1])
        if coverage is None:
            return _output(attn, F.scaled_dot_product_attention(query, key, value))
        looks = _attention(attn, query, key)
        self.watched.words.append(words_loss(looks.mean(dim=1), self.truth.object_tokens, coverage))
        return _output(attn, looks @ value)


def _projected(attn: Attention, hidden_states: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value. (rows, heads, tokens, channels of a head)"""
    query, key, value = (
        project(states).reshape(len(states), states.shape[1], attn.heads, -1).transpose(1, 2)
        for project, states in ((attn.to_q, hidden_states), (attn.to_k, context), (attn.to_v, context))
    )
    return query, key, value


def _attention(attn: Attention, query: Tensor, key: Tensor) -> Tensor:
    looks: Tensor = (query @ key.transpose(-1, -2) * attn.scale).softmax(dim=-1)
    return looks


def _output(attn: Attention, states: Tensor) -> Tensor:
    out: Tensor = attn.to_out[1](attn.to_out[0](states.transpose(1, 2).flatten(2)))
    return out


def matching_loss(looks: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy over the cells that have a match."""
    return -(truth * (looks + _TINY).log()).sum() / truth.sum().clamp_min(1)


def words_loss(looks: Tensor, object_tokens: Tensor, coverage: Tensor) -> Tensor:
    """Binary cross-entropy over the pictures whose caption has words for the character."""
    seen = (looks * object_tokens[:, None]).sum(dim=-1).clamp(_TINY, 1 - _TINY)
    captioned = object_tokens.amax(dim=1)
    each = F.binary_cross_entropy(seen, coverage, reduction="none").mean(dim=1)
    return (each * captioned).sum() / captioned.sum().clamp_min(1)


@contextmanager
def told_where_to_look(unet: UNet2DConditionModel, sight: Sight | None, truth: Truth) -> Iterator[Watched]:
    """Watches the cross-attention, and connects the self-attention of pairs.

    For ``both`` it is connected everywhere, for ``first`` on the way up, as MasaCtrl does.
    """
    before = unet.attn_processors
    watched = Watched()
    processors: dict[str, Any] = dict(before)
    for name in before:
        if ".attn2." in name:
            processors[name] = _CrossAttention(truth, watched)
        elif sight == "both" or (sight == "first" and name.startswith("up_blocks")):
            processors[name] = _SelfAttention(sight, truth, watched)
    unet.set_attn_processor(processors)
    try:
        yield watched
    finally:
        unet.set_attn_processor(dict(before))
