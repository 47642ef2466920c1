"""Deep features of the UNet, reused between denoising steps (DeepCache: Ma et al. 2023, arXiv 2312.00858, Sec. 3.3).

What the deep blocks give changes little from step to step. At some steps the whole UNet runs, and what enters its last
block is kept; at the others only the first and the last block run, around what was kept. A ControlNet does the same:
of its residuals, only those of the first block are asked for then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from diffusers import UNet2DConditionModel

from masactrl_video.model.backbones.base import LoadedModel
from masactrl_video.model.backbones.unet.controls import controlnets
from masactrl_video.model.patching import swapped


@contextmanager
def keeping_deep_features(unet: UNet2DConditionModel) -> Iterator[list[torch.Tensor]]:
    """Inside the context, every whole UNet call adds what its last block gets, (rows, channels, height, width)."""
    kept: list[torch.Tensor] = []
    handle = unet.up_blocks[-2].register_forward_hook(lambda module, inputs, output: kept.append(output))
    try:
        yield kept
    finally:
        handle.remove()


@contextmanager
def outermost_alone(model: LoadedModel, deep_features: torch.Tensor) -> Iterator[None]:
    """Inside the context, UNet and ControlNets run their outermost blocks alone.

    Args:
        deep_features: of the same rows at an earlier step (see `keeping_deep_features`).
    """
    unet = cast(UNet2DConditionModel, model.denoiser)
    with ExitStack() as stack:
        _first_alone(stack, unet, mid_block=_Kept(deep_features), up_blocks=torch.nn.ModuleList(unet.up_blocks[-1:]))
        for controlnet in controlnets(model.networks):
            nothing = _Kept(deep_features.new_zeros(()))  # added to the middle, which does not run
            _first_alone(stack, controlnet, mid_block=None, controlnet_mid_block=nothing)
        yield


def residuals_taken(unet: UNet2DConditionModel, residuals: dict[str, object]) -> dict[str, object]:
    """Of the keyword arguments for a UNet call, those for which its blocks are there.

    diffusers adds a T2I-Adapter's first feature inside a first block with attention (SD), but behind its downsampler in
    one without (SDXL), where only deeper blocks see it.
    """
    name = "down_intrablock_additional_residuals"
    first, *deeper = unet.down_blocks
    if deeper or name not in residuals or getattr(first, "has_cross_attention", False):
        return residuals
    return {key: value for key, value in residuals.items() if key != name}


class _Kept(torch.nn.Module):
    """Gives the same, whatever comes."""

    def __init__(self, features: torch.Tensor) -> None:
        super().__init__()
        self.features = features

    def forward(self, *_: Any, **__: Any) -> torch.Tensor:
        return self.features


def _first_alone(stack: ExitStack, network: Any, **parts: torch.nn.Module | None) -> None:
    first = network.down_blocks[0]
    stack.enter_context(swapped(first, downsamplers=None))
    stack.enter_context(swapped(network, down_blocks=torch.nn.ModuleList([first]), **parts))
