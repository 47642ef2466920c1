"""Prompts that are read once give what prompts read at every step give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import tiny_models
import torch
from diffusers.models.attention_processor import Attention

from masactrl_video.model.backbones.unet.prompt_once import reading_prompts_once
from masactrl_video.model.backbones.unet.prompts import UNetText


def prompts(unet: Any) -> tuple[UNetText, UNetText]:
    """Both branches, and the conditional one alone."""
    random = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 7, unet.config.cross_attention_dim, generator=random)
    if unet.config.addition_embed_type is None:
        both = UNetText(hidden)
    else:
        pooled = torch.randn(2, tiny_models.TEXT_WIDTH, generator=random)
        both = UNetText(hidden, pooled, torch.tensor([[64.0, 96, 0, 0, 64, 96]] * 2))
    return both, both.branch(1)


@contextmanager
def projections(network: torch.nn.Module) -> Iterator[Counter[str]]:
    """Name of a cross-attention → how often keys were made of a text."""
    made: Counter[str] = Counter()
    hooks = [
        module.to_k.register_forward_hook(lambda *_, name=name: made.update([name]))
        for name, module in network.named_modules()
        if isinstance(module, Attention) and module.is_cross_attention
    ]
    assert hooks
    yield made
    for hook in hooks:
        hook.remove()


def call(network: Any, text: UNetText, timestep: int, frames: int) -> list[torch.Tensor]:
    """All that a UNet or a ControlNet gives."""
    random = torch.Generator().manual_seed(timestep)
    extra = {}
    if hasattr(network, "controlnet_cond_embedding"):
        extra["controlnet_cond"] = torch.rand(frames * text.branches, 3, 64, 96, generator=random)
    rows = torch.randn(frames * text.branches, 4, 8, 12, generator=random)
    with torch.no_grad():
        out = network(rows, timestep, return_dict=False, **text.for_frames(frames), **extra)
    return [out[0]] if not extra else [*out[0], out[1]]


@pytest.mark.parametrize("kind", ["unet", "controlnet"])
@pytest.mark.parametrize("layout", ["sd1", "sd2", "sdxl"])
def test_keys_of_a_prompt_are_made_once_for_all_steps(layout: str, kind: str) -> None:
    unet = getattr(tiny_models, f"{layout}_unet")()
    network = unet if kind == "unet" else tiny_models.controlnet(unet)
    both, conditional = prompts(unet)
    steps = [(both, 700, 2), (both, 500, 2), (both, 400, 1), (conditional, 300, 2), (conditional, 100, 2)]
    expected = [call(network, *step) for step in steps]
    before = network.attn_processors
    with projections(network) as made, reading_prompts_once(network, (both, conditional)):
        found = [call(network, *step) for step in steps]
    assert set(made.values()) == {2}, "once for each prompt"
    for one, other in zip(found, expected, strict=True):
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(one, other, strict=True))
    assert network.attn_processors == before


def test_another_prompt_is_read_anew() -> None:
    unet = tiny_models.sd1_unet()
    both, _ = prompts(unet)
    other = UNetText(both.hidden_states.flip(0))
    (expected,) = call(unet, other, 500, 2)
    with projections(unet) as made, reading_prompts_once(unet, (both,)):
        call(unet, both, 500, 2)
        (found,) = call(unet, other, 500, 2)
        call(unet, other, 500, 2)
    assert torch.equal(found, expected)
    assert set(made.values()) == {3}
