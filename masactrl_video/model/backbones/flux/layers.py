"""The joint attention of FLUX's blocks, in forward order: those that keep text and picture apart, then the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffusers import FluxTransformer2DModel

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer, LayerKind
from masactrl_video.model.backbones.flux.packing import PATCH

DOUBLE, SINGLE = "transformer_blocks", "single_transformer_blocks"
"""Where a network has its blocks: those with weights for text and picture each, and those with the same for both."""


@dataclass(frozen=True)
class Layer:
    """The attention of one block."""

    index: int
    """Position in forward order, from 0: 0-18 and 19-56 in FLUX.1."""
    block: str
    """Name of the block, e.g. `single_transformer_blocks.0`."""
    key_channels: int
    """Channels of its keys, all heads together."""

    @property
    def name(self) -> str:
        """Name of the attention module."""
        return f"{self.block}.attn"

    @property
    def kind(self) -> LayerKind:
        """Text and picture stand in one softmax."""
        return "joint"

    @property
    def downscale(self) -> int:
        """The same for all blocks."""
        return PATCH

    @property
    def is_outermost(self) -> bool:
        """No block runs alone."""
        return False

    @property
    def is_double(self) -> bool:
        """Whether text and picture have weights of their own in its block."""
        return self.block.startswith(f"{DOUBLE}.")

    def grid(self, latent_size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the tokens for latents of `latent_size` (height, width)."""
        height, width = latent_size
        return height // PATCH, width // PATCH


def joint_layers(transformer: FluxTransformer2DModel) -> tuple[Layer, ...]:
    """All layers, in forward order."""
    blocks = [f"{part}.{number}" for part in (DOUBLE, SINGLE) for number in range(len(getattr(transformer, part)))]
    channels = transformer.config.num_attention_heads * transformer.config.attention_head_dim
    return tuple(Layer(index, block, channels) for index, block in enumerate(blocks))


def word_layers(layers: Sequence[AttentionLayer], divisor: int) -> tuple[AttentionLayer, ...]:
    """Layers whose attention from picture to text makes the object masks: those that keep the two apart.

    Raises:
        UserError: maps of another size than the tokens' are asked for.
    """
    if divisor != PATCH:
        raise UserError(
            f"mask_grid_divisor: got {divisor}; FLUX attends to words on its own grid alone: give {PATCH}, or masks"
        )
    return tuple(layer for layer in layers if layer.block.startswith(f"{DOUBLE}."))
