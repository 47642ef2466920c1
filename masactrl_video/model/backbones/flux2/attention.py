"""Attention modules of FLUX.2, opened up: keys are taken behind their norm and before their rotation.

Blocks with the same weights for text and picture make queries, keys, values and the states of their feed-forward part
in one layer; that part goes on as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any

import torch
from diffusers import Flux2Transformer2DModel
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_flux2 import (
    Flux2AttnProcessor,
    Flux2ParallelSelfAttention,
    Flux2ParallelSelfAttnProcessor,
)

from masactrl_video.model.backbones.base import PictureAttention, TextAttention
from masactrl_video.model.backbones.flux import calls as flux
from masactrl_video.model.backbones.flux.attention import FluxCall, cut, rotated
from masactrl_video.model.backbones.flux.layers import joint_layers
from masactrl_video.model.backbones.joint import attention as joint
from masactrl_video.model.backbones.joint.attention import Arguments, Attending, Opened
from masactrl_video.model.backbones.joint.projections import Projections, projected
from masactrl_video.model.backbones.steps import DenoiserCall

TITLE = "FLUX.2"
_ORDER = ("hidden_states", "encoder_hidden_states", "timestep", "img_ids", "txt_ids")
"""Of the arguments that may come without their names."""


@contextmanager
def attending(
    transformer: Flux2Transformer2DModel,
    to_picture: Mapping[str, PictureAttention],
    to_text: Mapping[str, Sequence[TextAttention]],
) -> Iterator[None]:
    """See `Backbone.attending`."""
    call, layers = _Call(transformer), joint_layers(transformer)
    kinds = (Flux2AttnProcessor, Flux2ParallelSelfAttnProcessor)
    with (
        watch_calls(transformer, call.begin),
        joint.attending(transformer, TITLE, layers, kinds, call.opened, to_picture, to_text, _processor),
    ):
        yield


def watch_calls(
    transformer: Flux2Transformer2DModel,
    on_begin: Callable[[DenoiserCall], None],
    on_end: Callable[[], None] | None = None,
) -> AbstractContextManager[None]:
    """Inside the context, each call of the transformer is told of (see `watching`)."""
    return flux.watch_calls(transformer, on_begin, on_end, TITLE, _ORDER)


class _Parallel(Attending):
    """That of the blocks which have text and picture in one sequence: diffusers hands on their arguments in order."""

    def __call__(  # type: ignore[override]
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> object:
        given = {"attention_mask": attention_mask, "image_rotary_emb": image_rotary_emb}
        return self.attend(attn, hidden_states, {name: value for name, value in given.items() if value is not None})


def _processor(module: torch.nn.Module) -> type[Attending]:
    return _Parallel if isinstance(module, Flux2ParallelSelfAttention) else Attending


class _Call(FluxCall):
    """What the layers must know of the call in progress."""

    def opened(self, attn: Any, hidden: torch.Tensor, arguments: Arguments) -> Opened:
        """An `Open`."""
        if not isinstance(attn, Flux2ParallelSelfAttention):
            return super().opened(attn, hidden, arguments)
        rotation, length = arguments.get("image_rotary_emb"), hidden.shape[1] - self.tokens

        @cache
        def made() -> tuple[torch.Tensor, ...]:
            """Queries, keys, values (rows, text tokens + tokens, channels), and what the feed-forward part reads."""
            own = attn.inner_dim
            whole: torch.Tensor = attn.to_qkv_mlp_proj(hidden)
            return torch.split(whole, [own, own, own, whole.shape[-1] - 3 * own], dim=-1)

        def layers(tokens: slice) -> Projections:
            query, key, value = (lambda _, part=part: made()[part][:, tokens] for part in range(3))
            return Projections(query, key, value, attn.norm_q, attn.norm_k)

        of_text, of_picture = slice(length), slice(length, None)
        words = projected(
            attn, hidden[:, of_text], layers(of_text), lambda states: rotated(states, cut(rotation, of_text))
        )
        qkv = projected(
            attn,
            hidden[:, of_picture],
            layers(of_picture),
            lambda states: rotated(states, cut(rotation, of_picture)),
            self.place,
            self.place_at,
            text=words,
        )

        def finished(attended: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = attn.to_out(torch.cat([attended, attn.mlp_act_fn(made()[3])], dim=-1))
            return out

        return Opened(qkv, finished)
