"""Attention modules of Z-Image, opened up: keys are taken behind their norm and before their rotation.

A sequence is the picture's tokens, tokens that fill them up to a multiple of 32, and the caption, filled up likewise.
The first layers refine the picture alone, with its filling. The place of a token of the picture has the length of
the caption as its first coordinate, so that the source's keys are given that of the frame: picture stands to picture as
in the source, whatever the two captions are. ControlNets run the same first layers, and there nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ZImageTransformer2DModel
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_z_image import SEQ_MULTI_OF, ZSingleStreamAttnProcessor

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import PictureAttention, TextAttention
from masactrl_video.model.backbones.calls import watching
from masactrl_video.model.backbones.joint import attention as joint
from masactrl_video.model.backbones.joint.attention import Opened
from masactrl_video.model.backbones.joint.calls import timestep_of
from masactrl_video.model.backbones.joint.layers import TokenLayer
from masactrl_video.model.backbones.joint.packing import PATCH
from masactrl_video.model.backbones.joint.places import check_tokens, grid_places, turned
from masactrl_video.model.backbones.joint.projections import Projections, projected
from masactrl_video.model.backbones.steps import DenoiserCall

TITLE = "Z-Image"
_ORDER = ("x", "t", "cap_feats")
"""Of the arguments that may come without their names."""
_UNSEEN = -1e4
"""Added to a score, it leaves nothing of it behind the softmax, in every number format."""
_LEVELS = 1000
"""A timestep comes as the share of a thousand that is left to 1."""


def all_layers(transformer: ZImageTransformer2DModel) -> tuple[TokenLayer, ...]:
    """All in which the picture attends to itself, in forward order: those of it alone, then those with the caption."""
    parts = (("noise_refiner", "self"), ("layers", "joint"))
    found: list[TokenLayer] = []
    for part, kind in parts:
        for number in range(len(getattr(transformer, part))):
            name = f"{part}.{number}"
            layer = TokenLayer(len(found), name, transformer.dim, PATCH, "attention", "self")
            found.append(
                layer if kind == "self" else TokenLayer(layer.index, name, transformer.dim, PATCH, "attention")
            )
    return tuple(found)


@contextmanager
def attending(
    transformer: ZImageTransformer2DModel,
    to_picture: Mapping[str, PictureAttention],
    to_text: Mapping[str, Sequence[TextAttention]],
) -> Iterator[None]:
    """See `Backbone.attending`."""
    call, kinds = _Call(transformer), (ZSingleStreamAttnProcessor,)
    with (
        watching(transformer, call.described, lambda _: None, call.end),
        joint.attending(transformer, TITLE, all_layers(transformer), kinds, call.opened, to_picture, to_text),
    ):
        yield


class _Call:
    """What the layers must know of the call in progress."""

    def __init__(self, transformer: ZImageTransformer2DModel) -> None:
        self._embedder = transformer.rope_embedder
        self._tokens = 0
        self._first: tuple[int, ...] = (0,)
        """First coordinate of the picture's tokens: of all rows, or of each half."""
        self._runs = False

    def described(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> DenoiserCall:
        """A call of the network begins."""
        call = _described(args, kwargs)
        self._tokens = (call.latent_size[0] // PATCH) * (call.latent_size[1] // PATCH)
        captions = {**dict(zip(_ORDER, args, strict=False)), **kwargs}["cap_feats"]
        self._first = _first_coordinates([_filled(len(caption)) + 1 for caption in captions])
        self._runs = True
        return call

    def end(self) -> None:
        """It ends."""
        self._runs = False

    def opened(self, attn: Attention, hidden: torch.Tensor, arguments: Mapping[str, Any]) -> Opened | None:
        """An `Open`."""
        if not self._runs:
            return None
        freqs, picture, others = arguments["freqs_cis"], hidden[:, : self._tokens], hidden[:, self._tokens :]
        layers = Projections.of_picture(attn)
        text = None
        if others.shape[1]:
            counts = arguments.get("attention_mask")  # (rows, tokens) bool; None where captions have one length
            fill = None if counts is None else (~counts[:, self._tokens :]).to(hidden.dtype) * _UNSEEN
            places = freqs[:, None, self._tokens :]
            text = projected(attn, others, layers, lambda states: turned(states, places), fill=fill)
        qkv = projected(
            attn,
            picture,
            layers,
            lambda states: turned(states, freqs[:, None, : self._tokens]),
            place=self._place,
            place_at=self._place_at,
            text=text,
            places_differ=True,  # a picture stands behind its prompt
        )
        filling = _filled(self._tokens) - self._tokens

        def finished(attended: torch.Tensor) -> torch.Tensor:
            in_order = torch.cat([attended[:, others.shape[1] :], attended[:, : others.shape[1]]], dim=1)
            out: torch.Tensor = attn.to_out[0](in_order)
            return attn.to_out[1](out) if len(attn.to_out) > 1 else out

        return Opened(qkv, finished, slice(filling, None))

    def _place(self, key: torch.Tensor, grid: tuple[int, int], first: tuple[int, int]) -> torch.Tensor:
        check_tokens(key, grid)
        return self._place_at(key, grid_places(grid, first))

    def _place_at(self, key: torch.Tensor, rows_columns: torch.Tensor) -> torch.Tensor:
        turns = torch.stack([self._turns(rows_columns, first) for first in self._first]).to(key.device)
        if len(turns) == 1:
            return turned(key, turns[0])
        rows = max(len(key), len(turns))  # of a source whose branches are the same, each has places of its own here
        by_row = turns.repeat_interleave(rows // len(turns), dim=0)[:, None]
        return turned(key.expand(rows, -1, -1, -1), by_row)

    def _turns(self, rows_columns: torch.Tensor, first: int) -> torch.Tensor:
        """Complex (tokens, head_dim / 2)."""
        places = F.pad(rows_columns.double().cpu(), (1, 0), value=first)
        angles = []
        for axis, size in enumerate(self._embedder.axes_dims):  # as the embedder's own table, which has whole places
            rates = 1.0 / self._embedder.theta ** (torch.arange(0, size, 2, dtype=torch.float64) / size)
            angles.append((places[:, axis, None] * rates).float())
        of_token = torch.cat(angles, dim=1)
        return torch.polar(torch.ones_like(of_token), of_token)


def _first_coordinates(rows: Sequence[int]) -> tuple[int, ...]:
    """Of all rows alike, or of each half, which are the branches of real guidance.

    Raises:
        UserError: within a half they differ.
    """
    half = len(rows) // 2
    if len(set(rows)) == 1:
        return (rows[0],)
    if len(rows) % 2 or len(set(rows[:half])) > 1 or len(set(rows[half:])) > 1:
        raise UserError(
            "a call of Z-Image's transformer had captions of different lengths for pictures of one branch; make one "
            "picture a call, or take one prompt for all"
        )
    return rows[0], rows[half]


def _filled(tokens: int) -> int:
    """So many tokens with those that fill them up."""
    return tokens + -tokens % int(SEQ_MULTI_OF)


def watch_calls(
    transformer: ZImageTransformer2DModel,
    on_begin: Callable[[DenoiserCall], None],
    on_end: Callable[[], None] | None = None,
) -> AbstractContextManager[None]:
    """Inside the context, each call of the transformer is told of (see `watching`)."""
    return watching(transformer, _described, on_begin, on_end)


def _described(args: tuple[Any, ...], kwargs: dict[str, Any]) -> DenoiserCall:
    given = {**dict(zip(_ORDER, args, strict=False)), **kwargs}
    pictures, left = given["x"], given["t"]
    if isinstance(pictures[0], list):
        raise UserError(
            "a call of Z-Image's transformer had several pictures in a row (Omni): mutual self-attention is for a "
            "picture made from text alone"
        )
    if len({picture.shape for picture in pictures}) != 1:
        raise UserError("a call of Z-Image's transformer had pictures of different sizes; use one size a call")
    timestep = _LEVELS * (1 - timestep_of(left, TITLE))
    rounding = 2 * _LEVELS * float(torch.finfo(left.dtype).eps) / max(timestep, 1.0)
    size = (pictures[0].shape[-2], pictures[0].shape[-1])
    return DenoiserCall(timestep, len(pictures), size, rounding, is_doubled=partial(_are_doubled, pictures))


def _are_doubled(pictures: Sequence[torch.Tensor]) -> bool:
    """Whether the second half are those of the first once more, as real guidance has them."""
    half = len(pictures) // 2
    return len(pictures) == 2 * half and all(map(torch.equal, pictures[:half], pictures[half:]))
