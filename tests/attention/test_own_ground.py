"""A figure of the source in front of a ground of its own, against attention spelled out with masked matrices."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from masactrl_video.attention.modes.own import MaskedMode
from masactrl_video.attention.mutual import Sides
from masactrl_video.attention.own_ground import own_ground_attention
from masactrl_video.model.backbones.qkv import QKV

BRANCHES, FRAMES, HEADS, TOKENS, SOURCE, DIM = 2, 3, 2, 12, 9, 4


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rims", [True, False])
def test_each_query_sees_its_own_ground_or_the_sources_figure(rims: bool) -> None:
    query, ground_key, ground_value = (normal(n, BRANCHES, FRAMES, HEADS, TOKENS, DIM) for n in range(3))
    key, value = (normal(n, BRANCHES, HEADS, SOURCE, DIM) for n in (3, 4))
    generator, weights = torch.Generator().manual_seed(5), normal(6, SOURCE)
    whose, of_source = (torch.randint(0, 3, (many,), generator=generator) for many in (FRAMES * TOKENS, SOURCE))
    of_source[:2] = torch.tensor([0, 2])
    target, source = (Sides(kind == 0, kind == 1 if rims else None) for kind in (whose, of_source))
    out = own_ground_attention(query, ground_key, ground_value, key, value, target, source, weights)

    figure, rim = target.mask.reshape(FRAMES, TOKENS), (whose.reshape(FRAMES, TOKENS) == 1) & rims
    seen_of_source = (of_source == 0) | ((of_source == 1) & rims)
    for frame in range(FRAMES):
        keys = torch.cat([ground_key[:, frame], key], dim=2)
        values = torch.cat([ground_value[:, frame], value], dim=2)
        of_ground = (~figure[frame])[:, None] & (~figure[frame])[None]  # -> (queries, keys of the frame)
        of_figure = (figure[frame] | rim[frame])[:, None] & seen_of_source[None]
        bias = torch.cat([torch.zeros(TOKENS), weights])
        scores = query[:, frame] @ keys.mT / DIM**0.5 + bias
        expected = scores.masked_fill(~torch.cat([of_ground, of_figure], dim=1), -torch.inf).softmax(-1) @ values
        assert (out[:, frame] - expected).abs().max() < 1e-5


def test_frames_that_are_all_figure_or_all_ground_are_answered() -> None:
    states = [normal(n, BRANCHES, FRAMES, HEADS, TOKENS, DIM) for n in range(3)]
    key, value = (normal(n, BRANCHES, HEADS, SOURCE, DIM) for n in (3, 4))
    mask = torch.zeros(FRAMES, TOKENS, dtype=torch.bool)
    mask[0] = True
    out = own_ground_attention(*states, key, value, Sides(mask.flatten()), Sides(torch.arange(SOURCE) < 4))
    plain = torch.nn.functional.scaled_dot_product_attention
    assert torch.allclose(out[:, 0], plain(states[0][:, 0], key[:, :, :4], value[:, :, :4]), atol=1e-6)
    assert torch.allclose(out[:, 1], plain(*(of[:, 1] for of in states)), atol=1e-6)


def test_beside_a_prompt_figure_and_ground_see_it_too() -> None:
    """In a joint layer each softmax has the frame's own text; the ground sees its frame as a whole there."""
    query, key, value, text_query, text_key, text_value = (
        normal(n, FRAMES, HEADS, tokens, DIM) for n, tokens in enumerate((TOKENS, TOKENS, TOKENS, 3, 3, 3))
    )
    source_key, source_value = (normal(n, 1, HEADS, SOURCE, DIM) for n in (7, 8))
    mask, of_source = torch.arange(FRAMES * TOKENS) % 3 == 0, torch.arange(SOURCE) < 4

    def qkv(states: tuple[torch.Tensor, ...], text: QKV | None = None) -> QKV:
        three = [lambda one=one: one for one in states]
        rows, heads, tokens = states[0].shape[:3]
        return QKV(*three, rows=rows, tokens=tokens, heads=heads, dtype=torch.float32, text=text)

    both = qkv((query, key, value), qkv((text_query, text_key, text_value)))
    view: Any = SimpleNamespace(key=source_key, value=source_value, weight=1.0, object=Sides(of_source))
    frame: Any = SimpleNamespace(object=Sides(mask), is_last=False, background="own", branches=1)
    out = MaskedMode().attend(both, [view], frame).reshape(FRAMES, TOKENS, HEADS, DIM).transpose(1, 2)
    figure = mask.reshape(FRAMES, TOKENS)
    attention = torch.nn.functional.scaled_dot_product_attention
    for row in range(FRAMES):
        of_figure = [
            torch.cat([text[row], states[0][:, of_source]], dim=1)
            for text, states in ((text_key, source_key), (text_value, source_value))
        ]
        of_ground = [torch.cat([text[row], own[row]], dim=1) for text, own in ((text_key, key), (text_value, value))]
        for tokens, (keys, values) in ((figure[row], of_figure), (~figure[row], of_ground)):
            assert torch.allclose(out[row][:, tokens], attention(query[row][:, tokens], keys, values), atol=1e-5)
