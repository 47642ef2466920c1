"""Attention modules of FLUX.2, opened up: keys are taken behind their norm and before their rotation.

Blocks with the same weights for text and picture make queries, keys, values and the states of their feed-forward part
in one layer; that part goes on as it is.

Reference pictures stand behind the picture's own tokens, at other places of the first axis, or their keys and values
are kept and come along. Either way they are what each softmax has beside the picture, as the prompt is.
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
    Flux2KVAttnProcessor,
    Flux2KVLayerCache,
    Flux2KVParallelSelfAttnProcessor,
    Flux2ParallelSelfAttention,
    Flux2ParallelSelfAttnProcessor,
)

from masactrl_video.model.backbones.base import PictureAttention, TextAttention
from masactrl_video.model.backbones.calls import watching
from masactrl_video.model.backbones.flux import calls as flux
from masactrl_video.model.backbones.flux.attention import FluxCall, cut, rotated
from masactrl_video.model.backbones.flux.layers import joint_layers
from masactrl_video.model.backbones.joint import attention as joint
from masactrl_video.model.backbones.joint.attention import Arguments, Attending, Opened
from masactrl_video.model.backbones.joint.projections import Projections, projected
from masactrl_video.model.backbones.qkv import QKV
from masactrl_video.model.backbones.steps import DenoiserCall

TITLE = "FLUX.2"
_ORDER = ("hidden_states", "encoder_hidden_states", "timestep", "img_ids", "txt_ids")
"""Of the arguments that may come without their names."""
_KINDS = (
    Flux2AttnProcessor,
    Flux2KVAttnProcessor,
    Flux2KVParallelSelfAttnProcessor,
    Flux2ParallelSelfAttnProcessor,
)


@contextmanager
def attending(
    transformer: Flux2Transformer2DModel,
    to_picture: Mapping[str, PictureAttention],
    to_text: Mapping[str, Sequence[TextAttention]],
) -> Iterator[None]:
    """See `Backbone.attending`."""
    call, layers = _Call(transformer), joint_layers(transformer)
    with (
        watching(transformer, call.described, call.begin),
        joint.attending(transformer, TITLE, layers, _KINDS, call.opened, to_picture, to_text, _processor),
    ):
        yield


def watch_calls(
    transformer: Flux2Transformer2DModel,
    on_begin: Callable[[DenoiserCall], None],
    on_end: Callable[[], None] | None = None,
) -> AbstractContextManager[None]:
    """Inside the context, each call of the transformer is told of (see `watching`)."""
    return watching(transformer, _described, on_begin, on_end)


def _described(args: tuple[Any, ...], kwargs: dict[str, Any]) -> DenoiserCall:
    given = {**dict(zip(_ORDER, args, strict=False)), **kwargs}
    if given.get("kv_cache_mode") != "extract":  # that has references before the picture
        given |= {"img_ids": _own_ids(given["img_ids"]), "kv_cache": None}
    return flux.described(TITLE, given)


def _own_ids(img_ids: torch.Tensor) -> torch.Tensor:
    """The places of the picture's own tokens, without those of the reference pictures behind them."""
    ids = img_ids[0] if img_ids.ndim == 3 else img_ids
    is_own = ids[:, 0] == 0
    count = int(is_own.sum())
    return ids[:count] if count and bool(is_own[:count].all()) else ids


class _Double(Attending):
    """That of the blocks which keep text and picture apart; references may come along."""

    def __call__(  # type: ignore[override]
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
        kv_cache: Flux2KVLayerCache | None = None,
        kv_cache_mode: str | None = None,
        num_ref_tokens: int = 0,
    ) -> object:
        given = {
            "encoder_hidden_states": encoder_hidden_states,
            "attention_mask": attention_mask,
            "image_rotary_emb": image_rotary_emb,
            "kv_cache": kv_cache,
            "kv_cache_mode": kv_cache_mode,
            "num_ref_tokens": num_ref_tokens or None,
        }
        return self.attend(attn, hidden_states, {name: value for name, value in given.items() if value is not None})


class _Parallel(Attending):
    """That of the blocks which have text and picture in one sequence: diffusers hands on their arguments in order."""

    def __call__(  # type: ignore[override]
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
        kv_cache: Flux2KVLayerCache | None = None,
        kv_cache_mode: str | None = None,
        num_txt_tokens: int = 0,
        num_ref_tokens: int = 0,
    ) -> object:
        given = {
            "attention_mask": attention_mask,
            "image_rotary_emb": image_rotary_emb,
            "kv_cache": kv_cache,
            "kv_cache_mode": kv_cache_mode,
            "num_txt_tokens": num_txt_tokens or None,
            "num_ref_tokens": num_ref_tokens or None,
        }
        return self.attend(attn, hidden_states, {name: value for name, value in given.items() if value is not None})


def _processor(module: torch.nn.Module) -> type[Attending]:
    return _Parallel if isinstance(module, Flux2ParallelSelfAttention) else _Double


class _Call(FluxCall):
    """What the layers must know of the call in progress."""

    def __init__(self, transformer: Flux2Transformer2DModel) -> None:
        super().__init__(transformer)
        self._references = 0
        """Tokens of reference pictures, which stand behind the picture's."""

    def described(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> DenoiserCall:
        """A call of the network begins."""
        img_ids = {**dict(zip(_ORDER, args, strict=False)), **kwargs}["img_ids"]
        self._references = img_ids.shape[-2] - _own_ids(img_ids).shape[-2]
        return _described(args, kwargs)

    def opened(self, attn: Any, hidden: torch.Tensor, arguments: Arguments) -> Opened | None:  # type: ignore[override]
        """An `Open`: a reference picture's own keys and values are made by the network as it is."""
        if arguments.get("kv_cache_mode") == "extract":
            return None
        of_kind = self._in_one if isinstance(attn, Flux2ParallelSelfAttention) else self._apart
        return of_kind(attn, hidden, arguments)

    def _apart(self, attn: Any, hidden: torch.Tensor, arguments: Arguments) -> Opened:
        """Of a block with weights for text and picture each."""
        text, rotation = arguments["encoder_hidden_states"], arguments.get("image_rotary_emb")
        length: int = text.shape[1]
        of_text, of_picture, of_references = self._slices(length)

        def of(states: torch.Tensor, layers: Projections, tokens: slice, *places: Any, **more: Any) -> QKV:
            return projected(attn, states, layers, lambda made: rotated(made, cut(rotation, tokens)), *places, **more)

        beside = [of(text, Projections.of_text(attn), of_text)]
        if self._references:
            beside.append(of(hidden[:, self.tokens :], Projections.of_picture(attn), of_references))
        picture, places = hidden[:, : self.tokens], (self.place, self.place_at)
        words = _together(beside, arguments)
        qkv = of(picture, Projections.of_picture(attn), of_picture, *places, text=words)

        def finished(attended: torch.Tensor) -> Any:
            shown = self._in_order(attended, length)
            return attn.to_out[1](attn.to_out[0](shown[:, length:])), attn.to_add_out(shown[:, :length])

        return Opened(qkv, finished, slice(length))

    def _in_one(self, attn: Any, hidden: torch.Tensor, arguments: Arguments) -> Opened:
        """Of a block with the same weights for all tokens."""
        rotation, length = arguments.get("image_rotary_emb"), hidden.shape[1] - self.tokens - self._references
        of_text, of_picture, of_references = self._slices(length)

        @cache
        def made() -> tuple[torch.Tensor, ...]:
            """Queries, keys, values (rows, all tokens, channels), and what the feed-forward part reads."""
            own = attn.inner_dim
            whole: torch.Tensor = attn.to_qkv_mlp_proj(hidden)
            return torch.split(whole, [own, own, own, whole.shape[-1] - 3 * own], dim=-1)

        def of(tokens: slice, *places: Any, **more: Any) -> QKV:
            query, key, value = (lambda _, part=part: made()[part][:, tokens] for part in range(3))
            layers = Projections(query, key, value, attn.norm_q, attn.norm_k)
            return projected(
                attn, hidden[:, tokens], layers, lambda states: rotated(states, cut(rotation, tokens)), *places, **more
            )

        beside = [of(of_text), *([of(of_references)] if self._references else [])]
        qkv = of(of_picture, self.place, self.place_at, text=_together(beside, arguments))

        def finished(attended: torch.Tensor) -> torch.Tensor:
            shown = self._in_order(attended, length)
            out: torch.Tensor = attn.to_out(torch.cat([shown, attn.mlp_act_fn(made()[3])], dim=-1))
            return out

        return Opened(qkv, finished, slice(length))

    def _slices(self, length: int) -> tuple[slice, slice, slice]:
        """Where the tokens of text, picture and references stand, behind a text of this length."""
        end = length + self.tokens
        return slice(length), slice(length, end), slice(end, None)

    def _in_order(self, attended: torch.Tensor, length: int) -> torch.Tensor:
        """Text, references, picture → text, picture, references, as the network has them."""
        if not self._references:
            return attended
        end = length + self._references
        return torch.cat([attended[:, :length], attended[:, end:], attended[:, length:end]], dim=1)


def _together(parts: Sequence[QKV], arguments: Arguments) -> QKV:
    """Tokens beside a picture's as one `QKV`, with the keys and values of kept references, which ask for nothing."""
    kept: Flux2KVLayerCache | None = arguments.get("kv_cache")
    if len(parts) == 1 and kept is None:
        return parts[0]

    def keys() -> torch.Tensor:
        own = [] if kept is None else [kept.get()[0].transpose(1, 2)]
        return torch.cat([*(part.key for part in parts), *own], dim=2)

    def values() -> torch.Tensor:
        own = [] if kept is None else [kept.get()[1].transpose(1, 2)]
        return torch.cat([*(part.value for part in parts), *own], dim=2)

    return QKV(
        lambda: torch.cat([part.query for part in parts], dim=2),
        keys,
        values,
        rows=parts[0].rows,
        tokens=sum(part.tokens for part in parts),
        heads=parts[0].heads,
        dtype=parts[0].dtype,
    )
