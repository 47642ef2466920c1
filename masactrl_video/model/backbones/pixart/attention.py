"""Attention of PixArt-Sigma: the same two modules a block as in a UNet's, on one grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from diffusers import PixArtTransformer2DModel

from masactrl_video.model.backbones.base import PictureAttention, TextAttention, no_other_prompt
from masactrl_video.model.backbones.calls import watching
from masactrl_video.model.backbones.joint.calls import rounding_of, timestep_of
from masactrl_video.model.backbones.steps import DenoiserCall
from masactrl_video.model.backbones.unet.attention import CrossAttentionCall, processors_for
from masactrl_video.model.backbones.unet.layers import Layer
from masactrl_video.model.backbones.unet.processors import installed

TITLE = "PixArt-Sigma"
_ORDER = ("hidden_states", "encoder_hidden_states", "timestep")
"""Of the arguments that may come without their names."""


def all_layers(transformer: PixArtTransformer2DModel) -> tuple[Layer, ...]:
    """The picture's own attention of all blocks, in forward order."""
    config = transformer.config
    channels = config.num_attention_heads * config.attention_head_dim
    blocks = range(len(transformer.transformer_blocks))
    return tuple(Layer(number, f"transformer_blocks.{number}", config.patch_size, channels) for number in blocks)


@contextmanager
def attending(
    transformer: PixArtTransformer2DModel,
    to_picture: Mapping[str, PictureAttention],
    to_text: Mapping[str, Sequence[TextAttention]],
) -> Iterator[None]:
    """See `Backbone.attending`."""
    processors = processors_for(transformer, all_layers(transformer), to_picture, to_text, PixArtTextCall)
    with installed(transformer, processors):
        yield


class PixArtTextCall(CrossAttentionCall):
    """A `TextCall` of a transformer that brings the text to its own width before all layers."""

    def word_map(self, words: Sequence[int], rows: slice, text: torch.Tensor | None = None) -> torch.Tensor:
        """See `TextCall`."""
        if text is not None:
            raise no_other_prompt(TITLE)
        return super().word_map(words, rows)

    def reading(self, last_rows: int, tokens: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Other prompts are not brought to that width."""
        raise no_other_prompt(TITLE)


def watch_calls(
    transformer: PixArtTransformer2DModel,
    on_begin: Callable[[DenoiserCall], None],
    on_end: Callable[[], None] | None = None,
) -> AbstractContextManager[None]:
    """Inside the context, each call of the transformer is told of (see `watching`)."""
    return watching(transformer, _described, on_begin, on_end)


def _described(args: tuple[Any, ...], kwargs: dict[str, Any]) -> DenoiserCall:
    given = {**dict(zip(_ORDER, args, strict=False)), **kwargs}
    timestep, latents = given["timestep"], given["hidden_states"]
    size = (latents.shape[-2], latents.shape[-1])
    return DenoiserCall(timestep_of(timestep, TITLE), latents.shape[0], size, rounding_of(timestep))
