"""The joint attention of FLUX's blocks, in forward order: those that keep text and picture apart, then the others."""

from __future__ import annotations

from collections.abc import Sequence

from diffusers import FluxTransformer2DModel

from masactrl_video.model.backbones.base import AttentionLayer
from masactrl_video.model.backbones.joint import layers as joint
from masactrl_video.model.backbones.joint.layers import TokenLayer
from masactrl_video.model.backbones.joint.packing import PATCH

DOUBLE, SINGLE = "transformer_blocks", "single_transformer_blocks"
"""Where a network has its blocks: those with weights for text and picture each, and those with the same for both."""


def joint_layers(transformer: FluxTransformer2DModel) -> tuple[TokenLayer, ...]:
    """All layers, in forward order: 0-18 and 19-56 in FLUX.1."""
    blocks = [f"{part}.{number}" for part in (DOUBLE, SINGLE) for number in range(len(getattr(transformer, part)))]
    channels = transformer.config.num_attention_heads * transformer.config.attention_head_dim
    return tuple(TokenLayer(index, block, channels, PATCH) for index, block in enumerate(blocks))


def word_layers(layers: Sequence[AttentionLayer], divisor: int) -> tuple[AttentionLayer, ...]:
    """Layers whose attention from picture to text makes the object masks: those that keep the two apart.

    Raises:
        UserError: maps of another size than the tokens' are asked for.
    """
    return joint.word_layers(layers, divisor, "FLUX", f"{DOUBLE}.")
