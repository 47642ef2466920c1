"""Layers of a transformer whose blocks all work on one grid of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer, LayerKind


@dataclass(frozen=True)
class TokenLayer:
    """The attention of one block."""

    index: int
    """Position in forward order, from 0."""
    block: str
    """Name of the block, e.g. `transformer_blocks.0`."""
    key_channels: int
    """Channels of its keys, all heads together."""
    downscale: int
    """Side of a token in latents; the same for all blocks."""
    module: str = "attn"
    """What the attention module is called in its block."""
    kind: LayerKind = "joint"
    """`joint`: text and picture stand in one softmax; `self`: the picture alone."""

    @property
    def name(self) -> str:
        """Name of the attention module."""
        return f"{self.block}.{self.module}"

    @property
    def is_outermost(self) -> bool:
        """No block runs alone."""
        return False

    def grid(self, latent_size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the tokens for latents of `latent_size` (height, width)."""
        height, width = latent_size
        return height // self.downscale, width // self.downscale


def word_layers(
    layers: Sequence[AttentionLayer], divisor: int, title: str, part: str = "", kind: LayerKind = "joint"
) -> tuple[AttentionLayer, ...]:
    """Layers whose attention from picture to text makes the object masks: those of a kind, in the blocks of one part.

    Args:
        part: beginning of the names of their blocks.

    Raises:
        UserError: maps of another size than the tokens' are asked for.
    """
    own = layers[0].downscale
    if divisor != own:
        raise UserError(
            f"mask_grid_divisor: got {divisor}; {title} attends to words on its own grid alone: give {own}, or masks"
        )
    return tuple(layer for layer in layers if layer.kind == kind and layer.block.startswith(part))
