"""Attention modules of Wan, opened up: keys are taken behind their norm and before their rotation.

A block has one module for the picture, `attn1`, and another for the text, `attn2`. Tokens have a frame, a row and a
column; the only frame is the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import WanTransformer3DModel
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_wan import WanAttnProcessor

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import PictureAttention, TextAttention, no_other_prompt
from masactrl_video.model.backbones.calls import watching
from masactrl_video.model.backbones.joint import attention as joint
from masactrl_video.model.backbones.joint.attention import Attending, Opened
from masactrl_video.model.backbones.joint.calls import rounding_of, timestep_of
from masactrl_video.model.backbones.joint.layers import TokenLayer
from masactrl_video.model.backbones.joint.places import check_tokens, grid_places
from masactrl_video.model.backbones.joint.projections import Projections, projected
from masactrl_video.model.backbones.qkv import split_heads, word_attention
from masactrl_video.model.backbones.steps import DenoiserCall
from masactrl_video.model.backbones.unet.attention import CrossAttentionCall, ToText

TITLE = "Wan"
_ORDER = ("hidden_states", "timestep", "encoder_hidden_states")
"""Of the arguments that may come without their names."""
_THETA = 10000.0
"""Base of the rotary positions; the transformer has no other."""
_PICTURE, _TEXT = "attn1", "attn2"


def all_layers(transformer: WanTransformer3DModel) -> tuple[TokenLayer, ...]:
    """The picture's own attention of all blocks, in forward order.

    Raises:
        UserError: a transformer that reads a picture too, or whose tokens are of several frames.
    """
    config = transformer.config
    if config.image_dim is not None or config.added_kv_proj_dim is not None:
        raise UserError(
            f"this {TITLE} makes videos of a given picture (image to video); take one that goes by text alone"
        )
    channels, (frames, height, width) = config.num_attention_heads * config.attention_head_dim, config.patch_size
    if frames != 1 or height != width:
        raise UserError(f"this {TITLE} has tokens of {frames} x {height} x {width} latents; take one with 1 x 2 x 2")
    blocks = range(len(transformer.blocks))
    return tuple(TokenLayer(number, f"blocks.{number}", channels, height, _PICTURE, "self") for number in blocks)


@contextmanager
def attending(
    transformer: WanTransformer3DModel,
    to_picture: Mapping[str, PictureAttention],
    to_text: Mapping[str, Sequence[TextAttention]],
) -> Iterator[None]:
    """See `Backbone.attending`."""
    layers, opening = all_layers(transformer), _Opening(transformer)
    kinds = (WanAttnProcessor,)
    with (
        joint.attending(transformer, TITLE, layers, kinds, opening.opened, to_picture, {}, lambda _: _ToPicture),
        _reading(transformer, layers, to_text),
    ):
        yield


@contextmanager
def _reading(
    transformer: WanTransformer3DModel, layers: Sequence[TokenLayer], to_text: Mapping[str, Sequence[TextAttention]]
) -> Iterator[None]:
    """Inside the context, something is added to the attention to the prompt."""
    joint.check_names(layers, to_text)
    before: list[tuple[Any, Any]] = []
    try:
        for layer in layers:
            if added := to_text.get(layer.name):
                name = f"{layer.block}.{_TEXT}"
                module: Any = transformer.get_submodule(name)
                joint.check_processor(name, module.processor, (WanAttnProcessor, ToText), TITLE)
                before.append((module, module.processor))
                module.processor = ToText(layer, module.processor, added, _TextCall)
        yield
    finally:
        for module, original in before:
            module.processor = original


class _ToPicture(Attending):
    """An `Attending` with the arguments of Wan's own processor."""

    def __call__(  # type: ignore[override]  # its fourth argument has a name of its own
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> object:
        """The text has a module of its own, and no token is hidden."""
        return self.attend(attn, hidden_states, {"rotary_emb": rotary_emb})


class _Opening:
    """How modules of one transformer are opened."""

    def __init__(self, transformer: WanTransformer3DModel) -> None:
        rope = transformer.rope
        self._axes: tuple[int, int, int] = rope.t_dim, rope.h_dim, rope.w_dim

    def opened(self, attn: Attention, hidden: torch.Tensor, arguments: Mapping[str, Any]) -> Opened:
        """An `Open`."""
        own = Projections.of_picture(attn)
        cosine, sine = (part.transpose(1, 2) for part in arguments["rotary_emb"])
        qkv = projected(
            attn,
            hidden,
            Projections(  # the norms go across all heads
                lambda states: attn.norm_q(own.query(states)),
                lambda states: attn.norm_k(own.key(states)),
                own.value,
                None,
                None,
            ),
            lambda states: _turned(states, cosine, sine),
            place=self._place,
            place_at=self._place_at,
        )

        def finished(attended: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = attn.to_out[1](attn.to_out[0](attended))
            return out

        return Opened(qkv, finished)

    def _place(self, key: torch.Tensor, grid: tuple[int, int], first: tuple[int, int]) -> torch.Tensor:
        check_tokens(key, grid)
        return self._place_at(key, grid_places(grid, first))

    def _place_at(self, key: torch.Tensor, rows_columns: torch.Tensor) -> torch.Tensor:
        places = F.pad(rows_columns.double().cpu(), (1, 0))  # in the first frame
        angles = []
        for axis, size in enumerate(self._axes):  # as the transformer's own table, which has whole places
            rates = 1.0 / _THETA ** (torch.arange(0, size, 2, dtype=torch.float64) / size)
            angles.append(torch.outer(places[:, axis], rates).repeat_interleave(2, dim=1))
        of_token = torch.cat(angles, dim=1)
        return _turned(key, of_token.cos().float().to(key.device), of_token.sin().float().to(key.device))


def _turned(states: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """(..., tokens, head_dim) with places put in, in the order of Wan's own processor, so that every bit is the same.

    Args:
        cosine: and `sine`, (..., tokens, head_dim): each value twice.
    """
    one, other = states[..., 0::2], states[..., 1::2]
    cosines, sines = cosine[..., 0::2], sine[..., 1::2]
    out = torch.empty_like(states)
    out[..., 0::2] = one * cosines - other * sines
    out[..., 1::2] = one * sines + other * cosines
    return out.type_as(states)


class _TextCall(CrossAttentionCall):
    """A `TextCall` of a transformer that norms queries and keys, and brings the text to its own width before all."""

    def word_map(self, words: Sequence[int], rows: slice, text: torch.Tensor | None = None) -> torch.Tensor:
        """See `TextCall`."""
        if text is not None:
            raise no_other_prompt(TITLE)
        attn = self._attn
        query = split_heads(attn.norm_q(attn.to_q(self._states[rows])), attn.heads)
        key = split_heads(attn.norm_k(self._key(self._text[rows])), attn.heads)
        return word_attention(query, key, words)

    def _key(self, text: torch.Tensor) -> torch.Tensor:
        if self._attn.fused_projections:
            fused: torch.Tensor = self._attn.to_kv(text)
            return fused.chunk(2, dim=-1)[0]
        own: torch.Tensor = self._attn.to_k(text)
        return own

    def reading(self, last_rows: int, tokens: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Other prompts are not brought to that width."""
        raise no_other_prompt(TITLE)


def watch_calls(
    transformer: WanTransformer3DModel,
    on_begin: Callable[[DenoiserCall], None],
    on_end: Callable[[], None] | None = None,
) -> AbstractContextManager[None]:
    """Inside the context, each call of the transformer is told of (see `watching`)."""
    return watching(transformer, _described, on_begin, on_end)


def _described(args: tuple[Any, ...], kwargs: dict[str, Any]) -> DenoiserCall:
    given = {**dict(zip(_ORDER, args, strict=False)), **kwargs}
    timestep, latents = given["timestep"], given["hidden_states"]
    if latents.shape[2] != 1:
        raise UserError(
            f"a call of {TITLE}'s transformer had {latents.shape[2]} frames of latents: mutual self-attention is for "
            "single pictures; take num_frames=1"
        )
    size = (latents.shape[-2], latents.shape[-1])
    return DenoiserCall(timestep_of(timestep, TITLE), latents.shape[0], size, rounding_of(timestep))
