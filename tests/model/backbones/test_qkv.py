"""Keys of a source are recorded before any position is put in, and get those of their grid when they are used."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F

from masactrl_video.attention.parts import SourcePart
from masactrl_video.attention.plan import ControlPlan
from masactrl_video.attention.record import KeepKeysValues
from masactrl_video.attention.recorded import MemorySource, StepRecord
from masactrl_video.attention.session import AttentionControl
from masactrl_video.model.backbones.qkv import QKV, merge_heads, split_heads
from masactrl_video.model.backbones.steps import DenoiserCall

GRID, HEADS = (2, 3), 2


def turned(key: torch.Tensor, grid: tuple[int, int], first: tuple[int, int] = (0, 0)) -> torch.Tensor:
    """As rotary positions do, another change for each token."""
    return key * torch.linspace(1, 2, grid[0] * grid[1])[:, None]


def test_a_layer_with_positions_attends_to_the_source_at_the_sources_positions() -> None:
    query, key, value, source_key, source_value = torch.randn(5, 1, HEADS, 6, 4)
    qkv = QKV(
        lambda: query,
        lambda: turned(key, GRID),
        lambda: value,
        rows=1,
        tokens=6,
        heads=HEADS,
        dtype=torch.float32,
        unplaced_key=lambda: key,
        place=turned,
    )
    layer: Any = SimpleNamespace(name="a", index=0, is_outermost=True, grid=lambda size: size)
    kept: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    KeepKeysValues(kept)(layer, qkv)
    assert torch.equal(split_heads(kept["a"][0], HEADS), key)
    source = MemorySource(("conditional",), ("a",))
    source.add(1.0, StepRecord({"a": merge_heads(source_key)}, {"a": merge_heads(source_value)}))
    control = AttentionControl([SourcePart(source)], ControlPlan((0,), (layer,)), ("conditional",), None)
    control.begin(DenoiserCall(1.0, 1, GRID))
    expected = F.scaled_dot_product_attention(query, turned(source_key, GRID), source_value)
    assert torch.equal(control.attend(layer, qkv), merge_heads(expected))


def test_a_layer_without_positions_changes_nothing() -> None:
    key = torch.randn(1, HEADS, 6, 4)
    qkv = QKV(lambda: key, lambda: key, lambda: key, rows=1, tokens=6, heads=HEADS, dtype=torch.float32)
    assert qkv.unplaced_key is qkv.key is key
    assert qkv.placed(key, GRID) is key
