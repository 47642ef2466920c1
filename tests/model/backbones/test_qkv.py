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


def test_a_source_gets_its_positions_once_a_step_and_is_itself_left_as_it_was() -> None:
    query, source_key, source_value = torch.randn(3, 1, HEADS, 6, 4)
    calls: list[int] = []

    def place(key: torch.Tensor, grid: tuple[int, int], first: tuple[int, int]) -> torch.Tensor:
        calls.append(1)
        return turned(key, grid, first)

    def qkv() -> QKV:
        kinds = {"rows": 1, "tokens": 6, "heads": HEADS, "dtype": torch.float32}
        return QKV(lambda: query, lambda: query, lambda: query, place=place, **kinds)  # type: ignore[arg-type]

    layer: Any = SimpleNamespace(name="a", index=0, is_outermost=True, grid=lambda size: size)
    source = MemorySource(("conditional",), ("a",))
    for timestep in (2.0, 1.0):
        source.add(timestep, StepRecord({"a": merge_heads(source_key)}, {"a": merge_heads(source_value)}))
    control = AttentionControl([SourcePart(source)], ControlPlan((0, 1), (layer,)), ("conditional",), None)
    expected = merge_heads(F.scaled_dot_product_attention(query, turned(source_key, GRID), source_value))
    for step, timestep in enumerate((2.0, 2.0, 2.0, 1.0, 1.0)):
        control.begin(DenoiserCall(timestep, 1, GRID))
        assert torch.equal(control.attend(layer, qkv()), expected)
        assert len(calls) == (1 if step < 3 else 2)
    assert torch.equal(split_heads(source.read(0).keys["a"], HEADS), source_key)


def test_queries_of_text_and_picture_may_be_made_at_once() -> None:
    both = torch.randn(1, HEADS, 8, 4)
    made: list[int] = []

    def kinds(tokens: int) -> Any:
        return {"rows": 1, "tokens": tokens, "heads": HEADS, "dtype": torch.float32}

    def nothing() -> torch.Tensor:
        raise AssertionError("made apart")

    text = QKV(nothing, nothing, nothing, **kinds(2))
    qkv = QKV(nothing, nothing, nothing, text=text, query_after_text=lambda: made.append(1) or both, **kinds(6))  # type: ignore[func-returns-value]
    assert qkv.query_after_text is both
    assert torch.equal(qkv.query, both[:, :, 2:])
    assert torch.equal(qkv.of_rows([0]).query_after_text, both)
    assert made == [1]
    apart = QKV(
        lambda: both[:, :, 2:],
        nothing,
        nothing,
        text=QKV(lambda: both[:, :, :2], *[nothing] * 2, **kinds(2)),
        **kinds(6),
    )
    assert torch.equal(apart.query_after_text, both)
