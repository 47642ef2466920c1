"""Transformers as ComfyUI builds them, whose picture and text attend to each other in one softmax.

Two places of ComfyUI's are used. Where a version calls patches of attention before it puts in the places of tokens
(`attn1_patch`), keys are taken there; elsewhere they are taken behind it, and the places are taken out again, which
turns pairs of channels back. What attention gives is answered for in `optimized_attention_override`, which lies behind
both.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch

from masactrl_video.comfyui.calls import Call
from masactrl_video.comfyui.comfy_types import Options
from masactrl_video.comfyui.families import Family, JointLayer
from masactrl_video.comfyui.networks import Answer, Look, NetworkLayer, Reading
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.joint.attention import JointCall, Opened
from masactrl_video.model.backbones.joint.layers import word_layers
from masactrl_video.model.backbones.joint.places import check_tokens, turned
from masactrl_video.model.backbones.qkv import QKV, merge_heads, split_heads

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Transformer:
    """A `ComfyNetwork`."""

    family: Family
    network: Any = field(repr=False, compare=False)
    layers: tuple[JointLayer, ...]

    @property
    def calls_each_branch(self) -> bool:
        """As the family has it."""
        return self.family.calls_each_branch

    def map_layers(self, divisor: int) -> tuple[JointLayer, ...]:
        """See `ComfyNetwork`; there is one grid."""
        own, part = self.layers[0].downscale, f"{self.family.blocks_of_words}."
        found = word_layers(self.layers, own, self.family.title, part)
        return tuple(layer for layer in self.layers if layer in found)

    @contextmanager
    def looked(self, call: Call, wanted: Sequence[NetworkLayer], look: Look, reading: Reading) -> Iterator[Options]:
        """See `ComfyNetwork`."""

        def see(layer: NetworkLayer, qkv: QKV) -> None:
            look(layer, merge_heads(qkv.unplaced_key), merge_heads(qkv.value))

        with self._asked(call, wanted, see, reading) as (options, asked):
            yield options
        if missing := [layer for layer in self._of(wanted) if layer.name not in asked]:
            raise UserError(
                f"Record Source: the attention of {missing[0].block} was not seen, for another node replaces that "
                "block, or compiles the model, or this ComfyUI attends past its own patches; take that node off"
            )

    @contextmanager
    def answered(
        self, call: Call, wanted: Sequence[NetworkLayer], answer: Answer, reading: Reading
    ) -> Iterator[Options]:
        """See `ComfyNetwork`."""
        with self._asked(call, wanted, answer, reading) as (options, asked):
            yield options
        missing = [layer for layer in self._of(wanted) if layer.name not in asked]
        replaced = call.options.get("patches_replace", {}).get("dit", {})
        for layer in missing:
            if layer.place not in replaced:
                raise UserError(
                    f"Use Source: the attention of {layer.block} was never asked, for another node compiles the model, "
                    "or this ComfyUI attends past its own patches; take that node off"
                )
            logger.warning(
                "Use Source: another node replaces block %s in this call; there the source is not asked", layer.block
            )

    def _of(self, wanted: Sequence[NetworkLayer]) -> list[JointLayer]:
        return [layer for layer in self.layers if layer in wanted]

    @contextmanager
    def _asked(
        self, call: Call, wanted: Sequence[NetworkLayer], answer: Answer, reading: Reading
    ) -> Iterator[tuple[Options, set[str]]]:
        """Options of a call whose wanted layers are answered for, and names of the layers that were asked."""
        self.family.check_call(call)
        names = {layer.name for layer in self._of(wanted)}

        def answering(layer: NetworkLayer, qkv: QKV) -> torch.Tensor | None:
            return answer(layer, qkv) if layer.name in names else None

        attending = _Attending(self.family, self.network, call, answering, reading)
        patches = call.options.get("patches", {})
        options = {
            **call.options,
            "patches": {**patches, "attn1_patch": [*patches.get("attn1_patch", ()), attending.before_places]},
            "optimized_attention_override": attending.attention,
        }
        with ExitStack() as stack:
            for layer in (layer for layer in self.layers if layer.name in names or layer.name in reading):
                begin = partial(attending.begin, layer)
                stack.callback(layer.module.register_forward_pre_hook(begin, with_kwargs=True).remove)
            yield options, attending.asked


@dataclass
class _Begun:
    """A layer whose attention comes next."""

    layer: JointLayer
    turns: torch.Tensor
    """Complex, (rows or 1, 1, tokens, head_dim / 2): places of all tokens."""
    unplaced_key: torch.Tensor | None = None
    """(rows, heads, tokens, head_dim), where it was seen."""


class _Attending:
    """The attention of one call of the network."""

    def __init__(self, family: Family, network: Any, call: Call, answer: Answer, reading: Reading) -> None:
        self._reading, self._prompted = reading, call.prompted if reading else slice(0, 0)
        self._family, self._network, self._answer, self._size = family, network, answer, call.size
        self._others: Callable[..., torch.Tensor] | None = call.options.get("optimized_attention_override")
        self._begun: _Begun | None = None
        self._text_before: int | None = None
        self._turns: dict[tuple[int, int], torch.Tensor] = {}
        self.asked: set[str] = set()
        """Names of layers."""

    def begin(self, layer: JointLayer, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The call of a layer's module begins; the first attention in it is the layer's."""
        given = inspect.signature(type(module).forward).bind(module, *args, **kwargs).arguments
        self._text_before = self._family.text_before(given, self._text_before)
        places = given.get(self._family.turns_of(layer))
        self._begun = None if places is None else _Begun(layer, turns_of(places))

    def before_places(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        pe: torch.Tensor | None = None,
        attn_mask: torch.Tensor | None = None,
        extra_options: Options | None = None,
    ) -> dict[str, torch.Tensor]:
        """ComfyUI's patch of attention before places are put in; it changes nothing."""
        if self._begun is not None and pe is not None:
            self._begun.unplaced_key, self._begun.turns = k, turns_of(pe)
        return {}

    def attention(
        self,
        function: Callable[..., torch.Tensor],
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        heads: int,
        *rest: Any,
        **named: Any,
    ) -> torch.Tensor:
        """ComfyUI's override of attention: `function` is what it would call."""
        begun, self._begun = self._begun, None

        def original(query: torch.Tensor) -> torch.Tensor:
            if self._others is not None:
                return self._others(function, query, k, v, heads, *rest, **named)
            return function(query, k, v, heads, *rest, **named)

        if begun is None:
            return original(q)
        by_head = named.get("skip_reshape", False)
        query, key, value = (states if by_head else split_heads(states, heads) for states in (q, k, v))
        mask = rest[0] if rest else named.get("mask")
        picture, others = self._parts(begun.layer, query.shape[2])
        qkv = self._qkv(begun, (query, key, value), picture, others, mask)
        attended = self._answer(begun.layer, qkv)
        self.asked.add(begun.layer.name)
        self._read(begun.layer, qkv, picture.start)
        if attended is None:
            return original(q)
        tokens = picture.stop - picture.start
        out = attended.new_empty(len(q), query.shape[2], attended.shape[2])
        out[:, picture] = attended[:, -tokens:]
        if len(others):
            is_there = attended.shape[1] > tokens
            out[:, others] = (
                attended[:, :-tokens] if is_there else original(q[:, :, others] if by_head else q[:, others])
            )
        return out

    def _read(self, layer: JointLayer, qkv: QKV, text_tokens: int) -> None:
        """Tell of the attention to the prompt, whose tokens stand before the picture's."""
        if layer.name not in self._reading:
            return
        rows = list(range(qkv.rows))[self._prompted]
        opened = Opened(qkv.of_rows(rows), lambda attended: attended, slice(text_tokens))
        for added in self._reading[layer.name]:
            added(layer, JointCall(opened, self._family.title), qkv.query)

    def _parts(self, layer: JointLayer, total: int) -> tuple[slice, torch.Tensor]:
        """The picture's tokens, and numbers of all others."""
        height, width = layer.grid(self._size)
        start = self._family.before(self._network, layer, self._text_before, total, height * width)
        end = start + height * width
        if start < 0 or end > total:
            raise RuntimeError(f"{layer.name}: {total} tokens, of which {height} x {width} should be the picture's")
        return slice(start, end), torch.cat([torch.arange(start), torch.arange(end, total)])

    def _qkv(
        self,
        begun: _Begun,
        states: tuple[torch.Tensor, ...],
        picture: slice,
        others: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> QKV:
        query, key, value = states
        turns, sizes = begun.turns, {"heads": query.shape[1], "dtype": query.dtype, "rows": len(query)}
        own_turns = turns[:, :, picture]

        def unplaced() -> torch.Tensor:
            if begun.unplaced_key is not None:
                return begun.unplaced_key[:, :, picture]
            return turned(key[:, :, picture], own_turns.conj())

        fill = fill_of(mask, len(query), query.shape[2], picture)
        text = None
        if len(others):
            parts = (partial(_tokens, of_all, others) for of_all in (query, key, value))
            of_others = None if fill is None else fill[:, others]
            text = QKV(*parts, tokens=len(others), fill=of_others, **cast(Any, sizes))
        return QKV(
            *(partial(_tokens, of_all, picture) for of_all in (query, key, value)),
            tokens=picture.stop - picture.start,
            unplaced_key=unplaced,
            place=partial(self._place, begun.layer.grid(self._size), own_turns[:1]),
            text=text,
            places_differ=self._family.behind_prompt,
            **cast(Any, sizes),
        )

    def _place(
        self,
        own_grid: tuple[int, int],
        own_turns: torch.Tensor,
        key: torch.Tensor,
        grid: tuple[int, int],
        first: tuple[int, int],
    ) -> torch.Tensor:
        """See `QKV.placed`: keys of a source stand where they stood, counted as the picture's own are."""
        check_tokens(key, grid)
        if grid == own_grid and first == (0, 0):
            return turned(key, own_turns)
        embedder = getattr(self._network, self._family.embedder)
        if grid not in self._turns:
            ids, from_first = self._family.places(grid, len(embedder.axes_dim))
            turns = turns_of(embedder(ids[None].to(key.device)))
            self._turns[grid] = turns * own_turns[:, :, :1] if from_first else turns
        return turned(key, self._turns[grid])


def _tokens(states: torch.Tensor, some: slice | torch.Tensor) -> torch.Tensor:
    """Some of the tokens of (rows, heads, tokens, head_dim)."""
    return states[:, :, some]


def turns_of(places: torch.Tensor) -> torch.Tensor:
    """ComfyUI's places, turning matrices (rows or 1, ..., head_dim / 2, 2, 2) → complex (rows or 1, 1, tokens, ...)."""
    turns = torch.complex(places[..., 0, 0].float(), places[..., 1, 0].float())
    return turns if turns.shape[1] == 1 else turns.transpose(1, 2)


def fill_of(mask: torch.Tensor | None, rows: int, tokens: int, picture: slice) -> torch.Tensor | None:
    """What a mask adds to the scores of each key, (rows, tokens); None: nothing.

    Raises:
        UserError: it differs from query to query, or hides a part of the picture.
    """
    if mask is None:
        return None
    if mask.dtype == torch.bool:
        mask = torch.where(mask, 0.0, torch.finfo(torch.float32).min)
    if not mask.any():
        return None
    if mask.ndim < 3 or mask.shape[-2] != 1 or mask.shape[-1] != tokens or bool(mask[..., picture].any()):
        raise UserError(
            "conditioning: it has a mask of attention between prompt and picture, which these nodes cannot keep; take "
            "the node that gives it off"
        )
    return mask.reshape(len(mask), -1)[:, -tokens:].expand(rows, -1)
