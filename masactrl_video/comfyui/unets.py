"""UNets as ComfyUI builds them: looked at by its patch of self-attention, answered for by its replacement."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from masactrl_video.comfyui.calls import Call
from masactrl_video.comfyui.comfy_types import Options
from masactrl_video.comfyui.layers import ComfyLayer
from masactrl_video.comfyui.networks import Answer, Look, NetworkLayer, Reading
from masactrl_video.model.backbones.qkv import QKV, split_heads, word_attention
from masactrl_video.model.backbones.unet.layers import mask_layers

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class UNet:
    """A `ComfyNetwork`."""

    layers: tuple[ComfyLayer, ...]

    @property
    def calls_each_branch(self) -> bool:
        """Both prompts go through the network together."""
        return False

    def map_layers(self, divisor: int) -> tuple[ComfyLayer, ...]:
        """See `ComfyNetwork`."""
        return mask_layers([layer for layer in self.layers if layer.to_text is not None], divisor)

    @contextmanager
    def looked(self, call: Call, wanted: Sequence[NetworkLayer], look: Look, reading: Reading) -> Iterator[Options]:
        """See `ComfyNetwork`."""
        by_place = {layer.place: layer for layer in self.layers if layer in wanted}

        def see(
            n: torch.Tensor, context: torch.Tensor, value: torch.Tensor, extra: Options
        ) -> tuple[torch.Tensor, ...]:
            layer = by_place.get((*extra["block"], extra["block_index"])) if extra.get("block") else None
            if layer is not None:
                look(layer, layer.attention.to_k(context), layer.attention.to_v(value))
            return n, context, value

        patches = self._reading(call, reading)
        yield {**call.options, "patches": {**patches, "attn1_patch": [*patches.get("attn1_patch", ()), see]}}

    @contextmanager
    def answered(
        self, call: Call, wanted: Sequence[NetworkLayer], answer: Answer, reading: Reading
    ) -> Iterator[Options]:
        """See `ComfyNetwork`."""
        others = call.options.get("patches_replace", {})
        ours = {
            layer.place: partial(_attend, answer, layer)
            for layer in self.layers
            if layer in wanted and not _leave_to_others(call.options, layer)
        }
        answering = {**others, "attn1": {**others.get("attn1", {}), **ours}}
        yield {**call.options, "patches": self._reading(call, reading), "patches_replace": answering}

    def _reading(self, call: Call, reading: Reading) -> dict[str, Any]:
        """ComfyUI's patches of a call, with one of the attention to the prompt where somebody is to be told of it."""
        patches = call.options.get("patches", {})
        if not reading:
            return dict(patches)
        rows = call.prompted
        by_place = {layer.place: layer for layer in self.layers if layer.name in reading}

        def read(
            n: torch.Tensor, context: torch.Tensor, value: torch.Tensor, extra: Options
        ) -> tuple[torch.Tensor, ...]:
            layer = by_place.get((*extra["block"], extra["block_index"])) if extra.get("block") else None
            if layer is not None:
                for added in reading[layer.name]:
                    added(layer, _ToText(layer.to_text, n[rows], context[rows]), n)
            return n, context, value

        return {**patches, "attn2_patch": [*patches.get("attn2_patch", ()), read]}


class _ToText:
    """A `TextCall` of some rows."""

    def __init__(self, attention: Any, states: torch.Tensor, text: torch.Tensor) -> None:
        """ComfyUI's module, the picture's states (rows, tokens, channels), and the prompt's."""
        self._attention, self._states, self._text = attention, states, text

    @property
    def rows(self) -> int:
        """Frames."""
        return len(self._states)

    def word_map(self, words: Sequence[int], rows: slice, text: torch.Tensor | None = None) -> torch.Tensor:
        """See `TextCall`."""
        read, heads = self._text[rows] if text is None else text, self._attention.heads
        query = split_heads(self._attention.to_q(self._states[rows]), heads)
        return word_attention(query, split_heads(self._attention.to_k(read), heads), words)

    def reading(self, last_rows: int, tokens: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """See `TextCall`; the nodes have no input for it."""
        raise RuntimeError("ComfyUI's nodes give no region a prompt of its own")


def _attend(
    answer: Answer, layer: ComfyLayer, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, extra: Options
) -> torch.Tensor:
    """ComfyUI's attention replacement: states (rows, tokens, channels) in and out, before the output projection."""
    heads = extra["n_heads"]
    query, key, value = (partial(split_heads, states, heads) for states in (q, k, v))
    out = answer(layer, QKV(query, key, value, rows=len(q), tokens=q.shape[1], heads=heads, dtype=q.dtype))
    if out is None:
        raise RuntimeError(f"{layer.name}: it was to be controlled at this step, and was not")
    return out


def _leave_to_others(options: Options, layer: ComfyLayer) -> bool:
    others = options.get("patches_replace", {}).get("attn1", {})
    if layer.place not in others and layer.place[:2] not in others:
        return False
    logger.warning(
        "Use Source: another node answers for the attention of block %s in this call; there the source is not asked",
        layer.block,
    )
    return True
