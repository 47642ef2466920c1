"""Attention modules of FLUX, opened up: what the tokens of picture and text ask, offer and give.

A processor on each controlled module does it, whatever backend its attention runs on: keys are taken behind their norm
and before their rotation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.transformer_flux import FluxAttention, FluxAttnProcessor

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer, PictureAttention, TextAttention
from masactrl_video.model.backbones.flux.calls import watch_calls
from masactrl_video.model.backbones.flux.layers import joint_layers
from masactrl_video.model.backbones.flux.packing import ids_of, places
from masactrl_video.model.backbones.qkv import QKV
from masactrl_video.model.backbones.steps import DenoiserCall

Projection = Callable[[torch.Tensor], torch.Tensor]

Rotation = tuple[torch.Tensor, torch.Tensor]
"""Cosine and sine, each (tokens, head_dim)."""


@contextmanager
def attending(
    transformer: FluxTransformer2DModel,
    to_picture: Mapping[str, PictureAttention],
    to_text: Mapping[str, Sequence[TextAttention]],
) -> Iterator[None]:
    """See `Backbone.attending`.

    Raises:
        UserError: the network has no layer of a name, or one with an IP-Adapter.
    """
    layers = {layer.name: layer for layer in joint_layers(transformer)}
    if unknown := sorted({*to_picture, *to_text} - set(layers)):
        raise UserError(f"the network has no attention layer named {unknown[0]!r}")
    call = _Call(transformer)
    with watch_calls(transformer, call.begin):
        before: list[tuple[FluxAttention, Any]] = []
        try:
            for name in {*to_picture, *to_text}:
                module = transformer.get_submodule(name)
                original = module.processor
                if not isinstance(original, FluxAttnProcessor | _Attending):  # contexts may stand in one another
                    raise UserError(
                        f"{name} has a {type(original).__name__}: an IP-Adapter or another change of FLUX's attention "
                        "does not go with mutual self-attention; take it off"
                    )
                before.append((module, original))
                module.processor = _Attending(layers[name], original, to_picture.get(name), to_text.get(name, ()), call)
            yield
        finally:
            for module, original in before:
                module.processor = original


class _Call:
    """What the layers must know of the call in progress."""

    def __init__(self, transformer: FluxTransformer2DModel) -> None:
        self._transformer = transformer
        self._rotations: dict[tuple[tuple[int, int], tuple[int, int]], Rotation] = {}
        self._elsewhere: list[tuple[torch.Tensor, Rotation]] = []
        self.tokens = 0
        """Of the picture."""

    def begin(self, call: DenoiserCall) -> None:
        """A call of the network begins."""
        height, width = joint_layers(self._transformer)[0].grid(call.latent_size)
        self.tokens = height * width
        self._elsewhere.clear()

    def rotation(self, grid: tuple[int, int], first: tuple[int, int]) -> Rotation:
        """That of the tokens of a grid (height, width) whose first one stands in this row and column."""
        if (grid, first) not in self._rotations:
            ids = places(grid, first).to(self._transformer.device)
            self._rotations[grid, first] = self._transformer.pos_embed(ids)
        return self._rotations[grid, first]

    def rotation_at(self, rows_columns: torch.Tensor) -> Rotation:
        """That of tokens at these places (tokens, 2); the same for all layers of a call."""
        for known, rotation in self._elsewhere:
            if known is rows_columns:
                return rotation
        found: Rotation = self._transformer.pos_embed(ids_of(rows_columns).to(self._transformer.device))
        self._elsewhere.append((rows_columns, found))
        return found


@dataclass(frozen=True)
class _Projections:
    """The layers by which some tokens of a module make their queries, keys and values."""

    query: Projection
    key: Projection
    value: Projection
    norm_query: Projection
    norm_key: Projection

    @classmethod
    def of_picture(cls, attn: FluxAttention) -> _Projections:
        """Those of the picture's tokens, and in a single block of the text's too."""
        if attn.fused_projections:
            return cls(*_thirds(attn.to_qkv), attn.norm_q, attn.norm_k)
        return cls(attn.to_q, attn.to_k, attn.to_v, attn.norm_q, attn.norm_k)

    @classmethod
    def of_text(cls, attn: FluxAttention) -> _Projections:
        """Those of the text's tokens."""
        if attn.added_kv_proj_dim is None:
            return cls.of_picture(attn)
        if attn.fused_projections:
            return cls(*_thirds(attn.to_added_qkv), attn.norm_added_q, attn.norm_added_k)
        return cls(attn.add_q_proj, attn.add_k_proj, attn.add_v_proj, attn.norm_added_q, attn.norm_added_k)


def _thirds(fused: Projection) -> tuple[Projection, Projection, Projection]:
    """Query, key and value of one layer that makes all three."""
    return (
        lambda states: fused(states).chunk(3, dim=-1)[0],
        lambda states: fused(states).chunk(3, dim=-1)[1],
        lambda states: fused(states).chunk(3, dim=-1)[2],
    )


class _Attending:
    """diffusers attention processor: the picture attends as `to_picture` has it, or else as before."""

    def __init__(
        self,
        layer: AttentionLayer,
        original: FluxAttnProcessor | _Attending,
        to_picture: PictureAttention | None,
        to_text: Sequence[TextAttention],
        call: _Call,
    ) -> None:
        self.layer, self.original, self.call = layer, original, call
        self.to_picture, self.to_text = to_picture, to_text
        self._attention_backend: Any = original._attention_backend

    def __call__(
        self,
        attn: FluxAttention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: Rotation | None = None,
    ) -> Any:
        qkv = self._opened(attn, hidden_states, encoder_hidden_states, image_rotary_emb)
        attended = None if self.to_picture is None else self.to_picture(self.layer, qkv)
        for added in self.to_text:
            added(self.layer, JointCall(qkv), hidden_states)
        if attended is None:
            return self.original(attn, hidden_states, encoder_hidden_states, attention_mask, image_rotary_emb)
        assert qkv.text is not None
        if attended.shape[1] == qkv.tokens:
            attended = torch.cat([self._text(qkv), attended], dim=1)
        if encoder_hidden_states is None:
            return attended
        text, picture = attended[:, : qkv.text.tokens], attended[:, qkv.text.tokens :]
        return attn.to_out[1](attn.to_out[0](picture)), attn.to_add_out(text)

    def _opened(
        self, attn: FluxAttention, hidden: torch.Tensor, text: torch.Tensor | None, rotation: Rotation | None
    ) -> QKV:
        if text is None:  # both in one sequence
            text, hidden = hidden[:, : -self.call.tokens], hidden[:, -self.call.tokens :]
        length = text.shape[1]
        of_text, of_picture = _cut(rotation, slice(length)), _cut(rotation, slice(length, None))
        words = _qkv(attn, text, _Projections.of_text(attn), of_text)
        picture = _Projections.of_picture(attn)
        return _qkv(attn, hidden, picture, of_picture, self._place, self._place_at, text=words)

    def _place(self, key: torch.Tensor, grid: tuple[int, int], first: tuple[int, int]) -> torch.Tensor:
        if key.shape[-2] != grid[0] * grid[1]:
            raise UserError(
                f"the source has {key.shape[-2]} tokens, and the picture {grid[0]} x {grid[1]}: its keys cannot be "
                "placed; draw both at one size, or take positions free"
            )
        return _rotated(key, self.call.rotation(grid, first))

    def _place_at(self, key: torch.Tensor, rows_columns: torch.Tensor) -> torch.Tensor:
        return _rotated(key, self.call.rotation_at(rows_columns))

    def _text(self, qkv: QKV) -> torch.Tensor:
        """What the text's tokens attend to: themselves and the picture, as the network has it."""
        assert qkv.text is not None
        query = qkv.text.query
        key, value = torch.cat([qkv.text.key, qkv.key], dim=2), torch.cat([qkv.text.value, qkv.value], dim=2)
        out: torch.Tensor = dispatch_attention_fn(
            *(states.transpose(1, 2) for states in (query, key, value)), backend=self.original._attention_backend
        )
        return out.flatten(2, 3)


def _qkv(
    attn: FluxAttention,
    states: torch.Tensor,
    layers: _Projections,
    rotation: Rotation | None,
    place: Callable[[torch.Tensor, tuple[int, int], tuple[int, int]], torch.Tensor] | None = None,
    place_at: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
    text: QKV | None = None,
) -> QKV:
    def heads(projected: torch.Tensor) -> torch.Tensor:
        """(rows, tokens, heads, head_dim)."""
        return projected.reshape(*projected.shape[:-1], -1, attn.head_dim)

    def key() -> torch.Tensor:
        return layers.norm_key(heads(layers.key(states))).transpose(1, 2)

    return QKV(
        lambda: _rotated(layers.norm_query(heads(layers.query(states))).transpose(1, 2), rotation),
        lambda: _rotated(key(), rotation),
        lambda: heads(layers.value(states)).transpose(1, 2),
        rows=states.shape[0],
        tokens=states.shape[1],
        heads=attn.heads,
        dtype=states.dtype,
        unplaced_key=key,
        place=place,
        place_at=place_at,
        text=text,
    )


def _cut(rotation: Rotation | None, tokens: slice) -> Rotation | None:
    return None if rotation is None else (rotation[0][tokens], rotation[1][tokens])


def _rotated(states: torch.Tensor, rotation: Rotation | None) -> torch.Tensor:
    """(..., heads, tokens, head_dim) with its tokens' places put in."""
    out: torch.Tensor = states if rotation is None else apply_rotary_emb(states, rotation)
    return out


class JointCall:
    """A `TextCall` of a joint layer."""

    def __init__(self, qkv: QKV) -> None:
        self._qkv = qkv

    @property
    def rows(self) -> int:
        """Branches x frames."""
        return self._qkv.rows

    def word_map(self, words: Sequence[int], last_rows: int, text: torch.Tensor | None = None) -> torch.Tensor:
        """See `TextCall`: the attention to the text is shared out among its words alone."""
        if text is not None:
            raise _no_other_prompt()
        assert self._qkv.text is not None
        query, key = self._qkv.query[-last_rows:].float(), self._qkv.text.key[-last_rows:].float()
        maps: torch.Tensor = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(dim=-1)
        return maps[..., list(words)].sum(dim=-1).mean(dim=1)

    def reading(self, last_rows: int, tokens: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """FLUX reads the prompt in the same softmax as the picture."""
        raise _no_other_prompt()


def _no_other_prompt() -> UserError:
    return UserError(
        "regions with prompts of their own: FLUX.1 reads one prompt together with the picture; leave the prompts out"
    )
