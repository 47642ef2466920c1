"""What the branches of a call have in common, computed once.

With classifier-free guidance every frame is in a batch twice, with the same latents. Up to the first cross-attention
nothing tells its two rows apart: not in the first residual block, nor in the first self-attention, whose grid is the
largest of all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock

from masactrl_video.model.backbones.unet.processors import is_plain
from masactrl_video.model.backbones.unet.prompts import UNetText
from masactrl_video.model.patching import swapped


@contextmanager
def common_part_once(network: UNet2DConditionModel | ControlNetModel, text: UNetText) -> Iterator[None]:
    """Inside the context, what comes before the prompt is computed for the first branch and serves the others too.

    Exact, but for the last digits. Nothing is saved with SDXL, where the prompt enters with the time already.

    Args:
        text: of the calls to come, whose branches have the same latents.
    """
    with ExitStack() as stack:
        if text.branches > 1 and text.pooled is None:
            for parent, name in _before_the_prompt(network):
                once = _ForOneBranch(getattr(parent, name), text.branches)
                stack.enter_context(swapped(parent, **{name: once}))
        yield


class _ForOneBranch(torch.nn.Module):
    """A part of a network that gets the first branch's rows alone; what it gives is repeated for each branch."""

    def __init__(self, part: torch.nn.Module, branches: int) -> None:
        super().__init__()
        self.part, self.branches = part, branches

    def forward(self, *rows: torch.Tensor, **options: Any) -> torch.Tensor:
        frames = rows[0].shape[0] // self.branches
        out: torch.Tensor = self.part(*(states[:frames] for states in rows), **options)
        return out.repeat(self.branches, *(1,) * (out.ndim - 1))


def _before_the_prompt(network: UNet2DConditionModel | ControlNetModel) -> Iterator[tuple[torch.nn.Module, str]]:
    """Parts, each as its parent and its name there, that give the same for all branches."""
    first = network.down_blocks[0]
    yield network, "conv_in"
    yield first.resnets, "0"
    if not getattr(first, "has_cross_attention", False):
        return
    transformer = first.attentions[0]
    block = transformer.transformer_blocks[0]
    yield transformer, "norm"
    yield transformer, "proj_in"
    if not isinstance(block, BasicTransformerBlock) or block.norm_type != "layer_norm":
        return
    if not block.attn1.is_cross_attention and is_plain(block.attn1):  # one that is recorded or controlled sees all rows
        yield block, "norm1"
        yield block, "attn1"
