"""Attention by regions as arithmetic, against one full attention whose matrix is masked."""

from __future__ import annotations

import pytest
import torch

from masactrl_video.attention.masks import GROUND, owners
from masactrl_video.attention.mutual import attention_by_region, source_attention

BRANCHES, FRAMES, HEADS, TOKENS, DIM = 2, 3, 2, 12, 4
SOURCES = (7, 5)  # tokens of each


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def states() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    query, key, value = normal(0, 3, BRANCHES, FRAMES, HEADS, TOKENS, DIM)
    return query, key, value


@pytest.fixture
def sources() -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [
        (normal(i, BRANCHES, HEADS, n, DIM), normal(10 + i, BRANCHES, HEADS, n, DIM)) for i, n in enumerate(SOURCES)
    ]


def spelled_out(
    states: tuple[torch.Tensor, ...],
    sources: list[tuple[torch.Tensor, torch.Tensor]],
    owner: torch.Tensor,
    ground: int | None,
) -> torch.Tensor:
    """Each query by itself: its scores over the keys of everybody, of which it may see its own source's."""
    query, own_key, own_value = states
    out = torch.empty_like(query)
    for b in range(BRANCHES):
        for f in range(FRAMES):
            keys = torch.cat([own_key[b, f], *(key[b] for key, _ in sources)], 1)  # -> (heads, everybody's tokens, dim)
            values = torch.cat([own_value[b, f], *(value[b] for _, value in sources)], 1)
            whose = torch.tensor([GROUND] * TOKENS + [i for i, n in enumerate(SOURCES) for _ in range(n)])
            for token in range(TOKENS):
                number = int(owner[f, token])
                seen = whose == (ground if number == GROUND and ground is not None else number)
                scores = (query[b, f, :, token, None] * keys).sum(-1) / DIM**0.5
                weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
                out[b, f, :, token] = (weights[..., None] * values).sum(1)
    return out


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ground", [None, 1])
def test_each_region_attends_to_its_own_source_exactly(
    states: tuple[torch.Tensor, ...], sources: list[tuple[torch.Tensor, torch.Tensor]], seed: int, ground: int | None
) -> None:
    owner = torch.randint(-1, 2, (FRAMES, TOKENS), generator=torch.Generator().manual_seed(seed))
    owner[0] = GROUND  # a frame without any character
    owner[1, :4] = torch.tensor([0, 1, 0, GROUND])
    regions = [owner == number for number in range(len(sources))]
    ours = attention_by_region(*states, sources, regions, sources[ground] if ground is not None else None)
    assert (ours - spelled_out(states, sources, owner, ground)).abs().max() < 1e-6


def test_one_source_that_owns_everything_is_equation_5(
    states: tuple[torch.Tensor, ...], sources: list[tuple[torch.Tensor, torch.Tensor]]
) -> None:
    everything = torch.ones(FRAMES, TOKENS, dtype=torch.bool)
    ours = attention_by_region(*states, sources, [everything, ~everything])
    long = states[0].transpose(1, 2).reshape(BRANCHES, HEADS, FRAMES * TOKENS, DIM)
    expected = source_attention(long, *sources[0]).reshape(BRANCHES, HEADS, FRAMES, TOKENS, DIM).transpose(1, 2)
    assert (ours - expected).abs().max() < 1e-6


def test_the_highest_score_owns_a_token_and_low_ones_leave_it_to_the_ground() -> None:
    scores = torch.tensor([[[0.9, 0.2, 0.05, 0.5, 0.0]], [[0.3, 0.8, 0.09, 0.5, 0.0]]])
    assert owners(scores, 0.1).tolist() == [[0, 1, GROUND, 0, GROUND]]
    assert owners(scores, 0.0).tolist() == [[0, 1, 1, 0, GROUND]]  # nothing is nobody's, whatever the threshold
