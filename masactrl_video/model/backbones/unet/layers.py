"""The attention layers of a UNet, by name, in the order in which a forward pass reaches them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_temporal import (
    TransformerSpatioTemporalModel,
    TransformerTemporalModel,
)
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer, LayerKind


@dataclass(frozen=True)
class Layer:
    """One self-attention (`attn1`) with the cross-attention (`attn2`) that follows it in the same transformer block."""

    index: int
    """Position in forward order, from 0: MasaCtrl's layer number (0-15 in an SD-1.x UNet)."""
    block: str
    """Name of the transformer block, e.g. `up_blocks.1.attentions.0.transformer_blocks.0`."""
    downscale: int
    """Side of the latents divided by the side of this layer's grid."""
    key_channels: int
    """Channels of this layer's keys, all heads together."""

    @property
    def name(self) -> str:
        """Name of the self-attention module."""
        return f"{self.block}.attn1"

    @property
    def kind(self) -> LayerKind:
        """The text is attended to by a layer of its own."""
        return "self"

    @property
    def self_processor(self) -> str:
        """Key of the self-attention in `unet.attn_processors`."""
        return f"{self.block}.attn1.processor"

    @property
    def cross_processor(self) -> str:
        """Key of the cross-attention in `unet.attn_processors`."""
        return f"{self.block}.attn2.processor"

    @property
    def is_outermost(self) -> bool:
        """Whether it is in the first or the last block, on the latents' own grid."""
        return self.downscale == 1

    def grid(self, latent_size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the layer's token grid for latents of `latent_size` (height, width)."""
        height, width = latent_size
        return -(-height // self.downscale), -(-width // self.downscale)  # a strided convolution rounds up


def self_attention_layers(unet: UNet2DConditionModel) -> tuple[Layer, ...]:
    """All self-attention layers in forward order: down, mid, up.

    `unet.attn_processors` lists down, up, mid instead, so its order must not be used to count layers.

    Raises:
        UserError: a network with layers that are called the same, but whose tokens are the frames of a video.
    """
    _refuse_temporal(unet)
    found: list[Layer] = []
    for prefix, module, downscale in _stages(unet):
        for name, child in module.named_modules():
            attention = getattr(child, "attn1", None)
            if isinstance(attention, Attention) and not attention.is_cross_attention:
                block = f"{prefix}.{name}"
                found.append(Layer(len(found), block, downscale, attention.inner_kv_dim))
    return tuple(found)


def _refuse_temporal(unet: UNet2DConditionModel) -> None:
    for name, module in unet.named_modules():
        if isinstance(module, (AnimateDiffTransformer3D, TransformerTemporalModel, TransformerSpatioTemporalModel)):
            raise UserError(
                f"a {type(unet).__name__} attends over time ({name}): mutual self-attention is for networks that make "
                "one image from another, such as UNet2DConditionModel; take one without motion modules"
            )


def _stages(unet: UNet2DConditionModel) -> Iterator[tuple[str, torch.nn.Module, int]]:
    """Blocks in forward order with the factor by which the latents are smaller there."""
    downscale = 1
    for index, block in enumerate(unet.down_blocks):
        yield f"down_blocks.{index}", block, downscale
        if getattr(block, "downsamplers", None):
            downscale *= 2
    if unet.mid_block is not None:
        yield "mid_block", unet.mid_block, downscale
    for index, block in enumerate(unet.up_blocks):
        yield f"up_blocks.{index}", block, downscale
        if getattr(block, "upsamplers", None):
            downscale //= 2


AnyLayer = TypeVar("AnyLayer", bound=AttentionLayer)


def mask_layers(layers: Sequence[AnyLayer], divisor: int) -> tuple[AnyLayer, ...]:
    """Layers whose cross-attention makes the object masks: grid side = latent side / `divisor`.

    The paper takes the 16x16 maps at 512x512, which is a divisor of 4 (MasaCtrl, Sec. 4.2).
    """
    found = tuple(layer for layer in layers if layer.downscale == divisor)
    if not found:
        sizes = ", ".join(str(size) for size in sorted({layer.downscale for layer in layers}))
        raise UserError(f"mask_grid_divisor: got {divisor}; this UNet has cross-attention at {sizes}")
    return found
