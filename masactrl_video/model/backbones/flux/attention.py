"""Attention modules of FLUX, opened up: keys are taken behind their norm and before their rotation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.transformer_flux import FluxAttention, FluxAttnProcessor

from masactrl_video.model.backbones.base import PictureAttention, TextAttention
from masactrl_video.model.backbones.flux.calls import watch_calls
from masactrl_video.model.backbones.flux.layers import joint_layers
from masactrl_video.model.backbones.flux.packing import ids_of, places
from masactrl_video.model.backbones.joint import attention as joint
from masactrl_video.model.backbones.joint.attention import Arguments, Opened
from masactrl_video.model.backbones.joint.places import check_tokens
from masactrl_video.model.backbones.joint.projections import Projections, normed, projected
from masactrl_video.model.backbones.steps import DenoiserCall

Rotation = tuple[torch.Tensor, torch.Tensor]
"""Cosine and sine, each (tokens, head_dim)."""


@contextmanager
def attending(
    transformer: FluxTransformer2DModel,
    to_picture: Mapping[str, PictureAttention],
    to_text: Mapping[str, Sequence[TextAttention]],
    title: str = "FLUX.1",
) -> Iterator[None]:
    """See `Backbone.attending`; the `title` is what people call the family."""
    call, layers = FluxCall(transformer), joint_layers(transformer)
    with (
        watch_calls(transformer, call.begin),
        joint.attending(transformer, title, layers, (FluxAttnProcessor,), call.opened, to_picture, to_text),
    ):
        yield


class FluxCall:
    """What the layers must know of the call in progress."""

    def __init__(self, transformer: FluxTransformer2DModel) -> None:
        self._transformer = transformer
        self._axes = len(transformer.pos_embed.axes_dim)
        self._rotations: dict[tuple[tuple[int, int], tuple[int, int]], Rotation] = {}
        self._elsewhere: list[tuple[torch.Tensor, Rotation]] = []
        self.tokens = 0
        """Of the picture."""
        self.text_tokens: int | None = None
        """Where they stand before the picture's."""

    def begin(self, call: DenoiserCall) -> None:
        """A call of the network begins."""
        height, width = joint_layers(self._transformer)[0].grid(call.latent_size)
        self.tokens, self.text_tokens = height * width, call.text_tokens
        self._elsewhere.clear()

    def rotation(self, grid: tuple[int, int], first: tuple[int, int]) -> Rotation:
        """That of the tokens of a grid (height, width) whose first one stands in this row and column."""
        if (grid, first) not in self._rotations:
            ids = places(grid, first, self._axes).to(self._transformer.device)
            self._rotations[grid, first] = self._transformer.pos_embed(ids)
        return self._rotations[grid, first]

    def rotation_at(self, rows_columns: torch.Tensor) -> Rotation:
        """That of tokens at these places (tokens, 2); the same for all layers of a call."""
        for known, rotation in self._elsewhere:
            if known is rows_columns:
                return rotation
        found: Rotation = self._transformer.pos_embed(ids_of(rows_columns, self._axes).to(self._transformer.device))
        self._elsewhere.append((rows_columns, found))
        return found

    def opened(self, attn: FluxAttention, hidden: torch.Tensor, arguments: Arguments) -> Opened:
        """An `Open`."""
        text, rotation = arguments.get("encoder_hidden_states"), arguments.get("image_rotary_emb")
        in_one, both = text is None, hidden
        if text is None:  # both in one sequence
            first = hidden.shape[1] - self.tokens if self.text_tokens is None else self.text_tokens
            text, hidden = hidden[:, :first], hidden[:, first:]
        length: int = text.shape[1]
        of_text, of_picture = (
            lambda states: rotated(states, cut(rotation, slice(length))),
            lambda states: rotated(states, cut(rotation, slice(length, None))),
        )
        mask, fill = arguments.get("attention_mask"), None
        if mask is not None:  # (rows, 1, tokens, tokens), which diffusers adds to the scores: 1 among those that count
            fill = mask[:, 0, -1, :length] - 1
        text_layers, layers = Projections.of_text(attn), Projections.of_picture(attn)

        def query_after_text() -> torch.Tensor:
            if in_one:
                return rotated(normed(attn, layers.query(both), layers.norm_query), rotation)
            queries = (
                normed(attn, text_layers.query(text), text_layers.norm_query),
                normed(attn, layers.query(hidden), layers.norm_query),
            )
            return rotated(torch.cat(queries, dim=2), rotation)

        words = projected(attn, text, text_layers, of_text, fill=fill)
        qkv = projected(
            attn, hidden, layers, of_picture, self.place, self.place_at, words, query_after_text=query_after_text
        )

        def finished(attended: torch.Tensor) -> Any:
            if in_one:
                return attended
            return attn.to_out[1](attn.to_out[0](attended[:, length:])), attn.to_add_out(attended[:, :length])

        return Opened(qkv, finished)

    def place(self, key: torch.Tensor, grid: tuple[int, int], first: tuple[int, int]) -> torch.Tensor:
        """See `QKV.placed`."""
        check_tokens(key, grid)
        return rotated(key, self.rotation(grid, first))

    def place_at(self, key: torch.Tensor, rows_columns: torch.Tensor) -> torch.Tensor:
        """See `QKV.placed_at`."""
        return rotated(key, self.rotation_at(rows_columns))


def cut(rotation: Rotation | None, tokens: slice) -> Rotation | None:
    """That of some of the tokens."""
    return None if rotation is None else (rotation[0][tokens], rotation[1][tokens])


def rotated(states: torch.Tensor, rotation: Rotation | None) -> torch.Tensor:
    """(..., heads, tokens, head_dim) with its tokens' places put in."""
    out: torch.Tensor = states if rotation is None else apply_rotary_emb(states, rotation)
    return out
