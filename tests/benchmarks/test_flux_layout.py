"""The tables of FLUX.1's layout: bytes counted as the cache takes them, and ways that do the same work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

NARROW: dict[str, Any] = {
    "in_channels": 64,
    "joint_attention_dim": 16,
    "pooled_projection_dim": 16,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "axes_dims_rope": (4, 4, 8),
}


def test_what_a_preset_takes_is_counted_on_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    import cache_sizes

    monkeypatch.setattr(cache_sizes, "FLUX", cache_sizes.FLUX | NARROW)
    row = cache_sizes.count("flux1-dev")
    each = 2 * 64 * 64 * 32  # keys and values, tokens, channels
    assert (row["picture"], row["layers"], row["branches"]) == ("1024×1024", "13 of 57", "1")
    assert row["a step, MB"] == f"{13 * each * 2 / 1e6:.1f}"
    assert row["the source, GB"] == f"{28 * 13 * each * 2 / 1e9:.2f}"
    assert float(row["in int8, MB"]) == pytest.approx(float(row["a step, MB"]) / 2, abs=0.1)
    assert float(row["step and two of the cache, GB"]) > 2 * 13 * each * 2 / 1e9


@pytest.mark.long
def test_another_transformer_is_counted_with_both_branches_in_their_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    import cache_sizes

    narrow = {"num_attention_heads": 2, "attention_head_dim": 16, "ffn_dim": 32, "num_layers": 30}
    wan = replace(cache_sizes.TRANSFORMERS["wan21-t2i"], arguments=narrow)
    monkeypatch.setitem(cache_sizes.SHAPES, "wan21-t2i", wan.shape)
    row = cache_sizes.count("wan21-t2i")
    each = 2 * 2 * 30 * 52 * 32  # keys and values, branches, tokens, channels
    assert (row["picture"], row["layers"], row["branches"]) == ("832×480", "11 of 30", "2")
    assert row["a step, MB"] == f"{11 * each * 2 / 1e6:.1f}"
    assert float(row["step and two of the cache, GB"]) > 2 * 11 * each * 2 / 1e9


@pytest.mark.long
def test_the_ways_make_the_same_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    import flux_layout

    small = {"num_layers": 1, "num_single_layers": 2, "num_attention_heads": 2, "attention_head_dim": 16}
    monkeypatch.setattr(flux_layout, "NETWORK", flux_layout.NETWORK | small | {"axes_dims_rope": (4, 4, 8)})
    with flux_layout.layout(64, 2, []) as made:  # nothing is controlled
        (latents,) = made.frames("cached", 1)()
        assert torch.equal(flux_layout.pack(latents), made.plain())
    with flux_layout.layout(64, 2, None) as made:
        cached, live = (made.frames(source, 2)() for source in ("cached", "live"))
        assert torch.equal(torch.cat(list(cached)), torch.cat(list(live)))
        assert (flux_layout.pack(cached[0]) - made.plain()).abs().max() > 1e-4
