"""What is computed once for all branches is what every branch computed, for less."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import tiny_models
import torch
from diffusers.models.attention_processor import AttnProcessor2_0

from masactrl_video.model.backbones.unet.common_part import common_part_once
from masactrl_video.model.backbones.unet.prompts import UNetText

FRAMES = 2


def text_of(layout: str, branches: int = 2) -> UNetText:
    random = torch.Generator().manual_seed(0)
    xl = layout == "sdxl"
    hidden = torch.randn(branches, 7, (1 + xl) * tiny_models.TEXT_WIDTH, generator=random)
    if not xl:
        return UNetText(hidden)
    pooled = torch.randn(branches, tiny_models.TEXT_WIDTH, generator=random)
    return UNetText(hidden, pooled, torch.tensor([[64.0, 96, 0, 0, 64, 96]] * branches))


@contextmanager
def rows_seen(parts: dict[str, torch.nn.Module]) -> Iterator[dict[str, int]]:
    """Name of a part → rows of its last call."""
    seen: dict[str, int] = {}
    hooks = [
        part.register_forward_hook(lambda _, args, output, name=name: seen.update({name: len(output)}))
        for name, part in parts.items()
    ]
    yield seen
    for hook in hooks:
        hook.remove()


def call(network: Any, text: UNetText) -> list[torch.Tensor]:
    """All that a UNet or a ControlNet gives for two frames."""
    random = torch.Generator().manual_seed(1)
    rows = torch.randn(FRAMES, 4, 8, 12, generator=random).repeat(text.branches, 1, 1, 1)
    extra = {}
    if hasattr(network, "controlnet_cond_embedding"):
        extra["controlnet_cond"] = torch.rand(FRAMES, 3, 64, 96, generator=random).repeat(text.branches, 1, 1, 1)
    with torch.no_grad():
        out = network(rows, 500, return_dict=False, **text.for_frames(FRAMES), **extra)
    return [out[0]] if not extra else [*out[0], out[1]]


def parts_of(network: Any) -> dict[str, torch.nn.Module]:
    first = network.down_blocks[0]
    parts = {"convolution": network.conv_in, "first residual": first.resnets[0], "second residual": first.resnets[1]}
    if hasattr(first, "attentions"):
        block = first.attentions[0].transformer_blocks[0]
        parts |= {"self-attention": block.attn1, "cross-attention": block.attn2}
    return parts


@pytest.mark.parametrize("kind", ["unet", "controlnet"])
@pytest.mark.parametrize("layout", ["sd1", "sd2", "sdxl"])
def test_it_gives_the_same_from_half_the_rows(layout: str, kind: str) -> None:
    unet = getattr(tiny_models, f"{layout}_unet")()
    network = unet if kind == "unet" else tiny_models.controlnet(unet)
    text, before = text_of(layout), [name for name, _ in network.named_modules()]
    expected = call(network, text)
    with rows_seen(parts_of(network)) as seen, common_part_once(network, text):
        made = call(network, text)
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(made, expected, strict=True))
    once = set() if layout == "sdxl" else {"convolution", "first residual", "self-attention"}
    assert {name for name, rows in seen.items() if rows == FRAMES} == once
    assert {name for name, rows in seen.items() if rows == 2 * FRAMES} == set(seen) - once
    assert [name for name, _ in network.named_modules()] == before


def test_one_branch_has_nothing_in_common() -> None:
    unet, text = tiny_models.sd1_unet(), text_of("sd1", 1)
    convolution = unet.conv_in
    with common_part_once(unet, text):
        assert unet.conv_in is convolution


def test_self_attention_with_a_processor_of_ones_own_sees_all_rows() -> None:
    class Own(AttnProcessor2_0):
        """May ask which branch a row is of."""

    unet, text = tiny_models.sd1_unet(), text_of("sd1")
    expected = call(unet, text)
    unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1.set_processor(Own())
    with rows_seen(parts_of(unet)) as seen, common_part_once(unet, text):
        (made,) = call(unet, text)
    assert torch.allclose(made, expected[0], atol=1e-5)
    assert (seen["first residual"], seen["self-attention"]) == (FRAMES, 2 * FRAMES)
