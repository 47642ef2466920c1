"""Several sources in one picture: their weights, for all frames or for each, and what a mode is given of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.parts import SourcePart, Weight
from masactrl_video.attention.plan import ControlPlan
from masactrl_video.attention.recorded import MemorySource, StepRecord
from masactrl_video.attention.session import AttentionControl
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.branches import GUIDED
from masactrl_video.model.backbones.qkv import QKV, split_heads
from masactrl_video.model.backbones.steps import DenoiserCall
from masactrl_video.model.backbones.unet.layers import Layer

FRAMES, HEADS, TOKENS, CHANNELS, LATENT = 3, 2, 24, 8, (4, 6)
LAYER = Layer(0, "block", 1, CHANNELS)
LEFT = torch.arange(6).expand(LATENT) < 3
MODES = ["source", "union", "masked", "regions"]


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def source(seed: int) -> MemorySource:
    recorded = MemorySource(GUIDED, (LAYER.name,))
    keys, values = normal(seed, 2, 2, TOKENS, CHANNELS)
    recorded.add(1.0, StepRecord({LAYER.name: keys}, {LAYER.name: values}, normal(seed, *LATENT).sigmoid()))
    return recorded


def qkv() -> QKV:
    query, key, value = (split_heads(normal(seed, 2 * FRAMES, TOKENS, CHANNELS), HEADS) for seed in (7, 8, 9))
    return QKV(
        lambda: query, lambda: key, lambda: value, rows=2 * FRAMES, tokens=TOKENS, heads=HEADS, dtype=torch.float32
    )


def attended(mode: str, *given: tuple[int, Weight]) -> tuple[torch.Tensor, AttentionControl]:
    """The output for sources by (seed, weight), and what was noted."""
    regions = {1: LEFT, 2: ~LEFT} if mode == "regions" else {}
    parts = [SourcePart(source(seed), region=regions.get(seed), weight=weight) for seed, weight in given]
    control = AttentionControl(parts, ControlPlan((0,), (LAYER,), mode), GUIDED, MaskRule(threshold=0.5))
    control.figures.target_mask = LEFT.expand(FRAMES, -1, -1)
    control.begin(DenoiserCall(1.0, 2 * FRAMES, LATENT))
    out = control.attend(LAYER, qkv())
    assert out is not None
    control.check_fired(calls_per_step=1)
    return out, control


@pytest.mark.parametrize("mode", MODES)
def test_a_source_of_weight_0_is_not_there_to_the_bit(mode: str) -> None:
    alone, _ = attended(mode, (1, 1.0))
    assert torch.equal(attended(mode, (1, 1.0), (2, 0.0))[0], alone)
    assert torch.equal(attended(mode, (2, torch.zeros(FRAMES)), (1, 1.0))[0], alone)
    assert not torch.equal(attended(mode, (1, 1.0), (2, 1.0))[0], alone)


@pytest.mark.parametrize("mode", ["source", "union", "masked"])
def test_a_weight_is_how_many_times_the_keys_of_a_source_stand_in_the_softmax(mode: str) -> None:
    weighted, _ = attended(mode, (1, 2.0), (2, 1.0))
    repeated, _ = attended(mode, (1, 1.0), (2, 1.0), (1, 1.0))
    assert (weighted - repeated).abs().max() < 1e-5
    assert (weighted - attended(mode, (1, 1.0), (2, 1.0))[0]).abs().max() > 1e-3


def test_two_sources_are_one_softmax_over_the_keys_of_both() -> None:
    out, _ = attended("source", (1, 0.25), (2, 3.0))
    records, states = [source(seed).read(0) for seed in (1, 2)], qkv()
    for row in range(2 * FRAMES):
        key, value = (
            split_heads(torch.cat([kind[LAYER.name][row // FRAMES] for kind in kinds]), HEADS)
            for kinds in ([record.keys for record in records], [record.values for record in records])
        )
        scores = (states.query[row] @ key.mT / states.query.shape[-1] ** 0.5).exp()
        scores = scores * torch.tensor([0.25] * TOKENS + [3.0] * TOKENS)
        expected = scores / scores.sum(-1, keepdim=True) @ value  # -> (heads, tokens, head_dim)
        assert (out[row] - expected.transpose(0, 1).flatten(1)).abs().max() < 1e-5


@pytest.mark.parametrize("mode", MODES)
def test_each_frame_may_have_weights_of_its_own(mode: str) -> None:
    """The first frame follows one source, the second the other, and the last none: it attends to itself."""
    out, control = attended(mode, (1, torch.tensor([1.0, 0.0, 0.0])), (2, torch.tensor([0.0, 1.0, 0.0])))
    first, _ = attended(mode, (1, 1.0))
    second, _ = attended(mode, (2, 1.0))
    states = qkv()
    own = torch.nn.functional.scaled_dot_product_attention(states.query, states.key, states.value)
    expected = (first, second, own.transpose(1, 2).flatten(2))
    for branch in range(2):
        for frame in range(FRAMES):
            row = branch * FRAMES + frame
            assert (out[row] - expected[frame][row]).abs().max() < 1e-6
    shares = control.source_share(FRAMES)
    assert shares[0] > 0 < shares[1]
    assert shares[2] == 0


@pytest.mark.parametrize(
    ("weight", "message"),
    [(-1.0, "weight of a source: got -1"), (float("nan"), "got nan"), (torch.ones(2), "got 2 for 3 frames")],
)
def test_weights_that_are_none_are_refused(weight: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        attended("source", (1, weight))


def test_a_region_that_a_mode_would_not_ask_for_is_refused() -> None:
    part = SourcePart(source(1), region=LEFT)
    with pytest.raises(UserError, match="union mode: its sources have no regions"):
        AttentionControl([part], ControlPlan((0,), (LAYER,), "union"), GUIDED)
