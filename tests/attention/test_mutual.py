"""Mutual self-attention as arithmetic, against the paper's equations written out."""

from __future__ import annotations

import pytest
import torch

from masactrl_video.attention.mutual import Sides, masked_attention, source_attention, source_share, union_attention

BRANCHES, HEADS, FRAMES, TOKENS, SOURCE, DIM = 2, 3, 2, 10, 7, 4


def full_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Attention with its matrix; `seen` (source tokens,) says which keys may be looked at."""
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    return scores.masked_fill(~seen, -torch.inf).softmax(-1) @ value


@pytest.fixture
def tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)

    def normal(tokens: int) -> torch.Tensor:
        return torch.randn(BRANCHES, HEADS, tokens, DIM, generator=generator)

    return normal(FRAMES * TOKENS), normal(SOURCE), normal(SOURCE)


def test_source_attention_is_equation_5(tensors: tuple[torch.Tensor, ...]) -> None:
    expected = full_attention(*tensors, torch.ones(SOURCE, dtype=torch.bool))
    assert (source_attention(*tensors) - expected).abs().max() < 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_masked_attention_is_equations_6_to_8(tensors: tuple[torch.Tensor, ...], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    source = torch.rand(SOURCE, generator=generator) > 0.5
    source[0], source[1] = True, False
    target = torch.rand(FRAMES * TOKENS, generator=generator) > 0.5
    figure, ground = full_attention(*tensors, source), full_attention(*tensors, ~source)
    blend = target.float()[:, None]
    expected = figure * blend + ground * (1 - blend)
    assert (masked_attention(*tensors, Sides(target), Sides(source)) - expected).abs().max() < 1e-6


@pytest.mark.parametrize("figure", [True, False])
def test_a_side_that_the_source_does_not_have_attends_to_the_whole_source(
    tensors: tuple[torch.Tensor, ...], figure: bool
) -> None:
    source = torch.full((SOURCE,), figure)
    target = torch.arange(FRAMES * TOKENS) % 2 == 0
    out = masked_attention(*tensors, Sides(target), Sides(source))
    assert (out - source_attention(*tensors)).abs().max() < 1e-6  # one side by right, the other for want of keys


@pytest.mark.parametrize("figure", [True, False])
def test_a_target_may_be_all_figure_or_all_ground(tensors: tuple[torch.Tensor, ...], figure: bool) -> None:
    source = torch.arange(SOURCE) < 3
    out = masked_attention(*tensors, Sides(torch.full((FRAMES * TOKENS,), figure)), Sides(source))
    assert (out - full_attention(*tensors, source == figure)).abs().max() < 1e-6


def test_union_is_one_softmax_over_own_and_source_keys() -> None:
    generator = torch.Generator().manual_seed(0)
    query, own_key, own_value = torch.randn(3, BRANCHES, FRAMES, HEADS, TOKENS, DIM, generator=generator)
    key, value = torch.randn(2, BRANCHES, HEADS, SOURCE, DIM, generator=generator)
    out = union_attention(query, own_key, own_value, key, value)
    for branch in range(BRANCHES):
        for frame in range(FRAMES):
            keys = torch.cat([own_key[branch, frame], key[branch]], dim=1)
            values = torch.cat([own_value[branch, frame], value[branch]], dim=1)
            seen = torch.ones(TOKENS + SOURCE, dtype=torch.bool)
            expected = full_attention(query[branch, frame], keys, values, seen)
            assert (out[branch, frame] - expected).abs().max() < 1e-6


def test_union_with_the_source_itself_is_its_own_attention() -> None:
    query, key, value = torch.randn(3, BRANCHES, 1, HEADS, TOKENS, DIM, generator=torch.Generator().manual_seed(0))
    out = union_attention(query, key, value, key[:, 0], value[:, 0])
    assert (out[:, 0] - source_attention(query[:, 0], key[:, 0], value[:, 0])).abs().max() < 1e-6


@pytest.mark.parametrize("towards_source", [-20.0, 0.0, 20.0])
def test_the_sources_share_is_the_mass_of_the_softmax_on_its_keys(towards_source: float) -> None:
    query = torch.randn(BRANCHES, FRAMES, HEADS, TOKENS, DIM)
    own, key = torch.randn(BRANCHES, FRAMES, HEADS, TOKENS, DIM), torch.randn(BRANCHES, HEADS, SOURCE, DIM)
    query[..., 0], own[..., 0], key[..., 0] = 1, 0, towards_source
    both = torch.cat([own, key.unsqueeze(1).expand(-1, FRAMES, -1, -1, -1)], dim=3)
    weights = (query @ both.transpose(-1, -2) / DIM**0.5).softmax(-1)
    share = source_share(query, own, key)
    assert torch.allclose(share, weights[..., TOKENS:].sum(-1).mean(dim=(0, 2, 3)), atol=1e-6)
    assert towards_source == 0 or bool(((share > 0.9) == (towards_source > 0)).all())


@pytest.mark.parametrize("seed", [0, 1])
def test_rims_belong_to_both_sides(tensors: tuple[torch.Tensor, ...], seed: int) -> None:
    """A query of the rim sees all keys, and a key of the source's rim is seen by all queries."""
    query, key, value = tensors
    generator = torch.Generator().manual_seed(seed)
    kinds = [torch.randint(0, 3, (states.shape[2],), generator=generator) for states in (query, key)]
    kinds[1][:2] = torch.tensor([0, 2])  # a side that a source does not have is another matter
    target, source = (Sides(kind == 0, kind == 1) for kind in kinds)
    seen = (target.mask[:, None] == source.mask) | (kinds[0] == 1)[:, None] | (kinds[1] == 1)
    assert (
        masked_attention(query, key, value, target, source) - full_attention(query, key, value, seen)
    ).abs().max() < 1e-6


def test_a_rim_of_no_tokens_is_no_rim(tensors: tuple[torch.Tensor, ...]) -> None:
    target, source = (torch.arange(states.shape[2]) % 3 == 0 for states in tensors[:2])
    plain = masked_attention(*tensors, Sides(target), Sides(source))
    rimmed = masked_attention(*tensors, Sides(target, target & False), Sides(source, source & False))
    assert torch.equal(plain, rimmed)
