"""Attention modules of Stable Diffusion 3, opened up: keys hold no places, which are added at the input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from diffusers import SD3Transformer2DModel
from diffusers.models.attention_processor import Attention, FusedJointAttnProcessor2_0, JointAttnProcessor2_0

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import PictureAttention, TextAttention
from masactrl_video.model.backbones.calls import watching
from masactrl_video.model.backbones.joint import attention as joint
from masactrl_video.model.backbones.joint.attention import Opened
from masactrl_video.model.backbones.joint.calls import rounding_of, timestep_of
from masactrl_video.model.backbones.joint.layers import TokenLayer
from masactrl_video.model.backbones.joint.projections import Projections, projected
from masactrl_video.model.backbones.steps import DenoiserCall

TITLE = "Stable Diffusion 3"


def all_layers(transformer: SD3Transformer2DModel) -> tuple[TokenLayer, ...]:
    """All in which the picture attends to itself, in forward order.

    A block has one with the text in the same softmax, and in some blocks of 3.5 medium another of the picture alone.
    """
    config = transformer.config
    layers: list[TokenLayer] = []
    channels = config.num_attention_heads * config.attention_head_dim
    for number, block in enumerate(transformer.transformer_blocks):
        name = f"transformer_blocks.{number}"
        layers.append(TokenLayer(len(layers), name, channels, config.patch_size))
        if block.attn2 is not None:
            layers.append(TokenLayer(len(layers), name, channels, config.patch_size, "attn2", "self"))
    return tuple(layers)


def attending(
    transformer: SD3Transformer2DModel,
    to_picture: Mapping[str, PictureAttention],
    to_text: Mapping[str, Sequence[TextAttention]],
) -> AbstractContextManager[None]:
    """See `Backbone.attending`."""
    kinds = (JointAttnProcessor2_0, FusedJointAttnProcessor2_0)
    return joint.attending(transformer, TITLE, all_layers(transformer), kinds, _opened, to_picture, to_text)


def _opened(attn: Attention, hidden: torch.Tensor, arguments: Mapping[str, Any]) -> Opened:
    """An `Open`."""
    text, of_picture = arguments.get("encoder_hidden_states"), Projections.of_picture(attn)
    if text is None:
        return Opened(projected(attn, hidden, of_picture), lambda attended: _out(attn, attended))
    words = projected(attn, text, Projections.of_text(attn))

    def finished(attended: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        of_text, of_pixels = attended[:, : words.tokens], attended[:, words.tokens :]
        return _out(attn, of_pixels), of_text if attn.context_pre_only else attn.to_add_out(of_text)

    return Opened(projected(attn, hidden, of_picture, text=words), finished)


def _out(attn: Attention, attended: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = attn.to_out[1](attn.to_out[0](attended))
    return out


_ORDER = ("hidden_states", "encoder_hidden_states", "pooled_projections", "timestep")
"""Of the arguments that may come without their names."""


def watch_calls(
    transformer: SD3Transformer2DModel,
    on_begin: Callable[[DenoiserCall], None],
    on_end: Callable[[], None] | None = None,
) -> AbstractContextManager[None]:
    """Inside the context, each call of the transformer is told of (see `watching`)."""
    return watching(transformer, _described, on_begin, on_end)


def _described(args: tuple[Any, ...], kwargs: dict[str, Any]) -> DenoiserCall:
    given = {**dict(zip(_ORDER, args, strict=False)), **kwargs}
    if given.get("skip_layers"):
        raise UserError(
            "a call of SD3's transformer leaves out layers (skip_guidance_layers); mutual self-attention needs them "
            "all: leave it out"
        )
    timestep, latents = given["timestep"], given["hidden_states"]
    size = (latents.shape[-2], latents.shape[-1])
    return DenoiserCall(timestep_of(timestep, TITLE), latents.shape[0], size, rounding_of(timestep))
