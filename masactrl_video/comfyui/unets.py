"""UNets as ComfyUI builds them: looked at by its patch of self-attention, answered for by its replacement."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch

from masactrl_video.comfyui.calls import Call
from masactrl_video.comfyui.comfy_types import Options
from masactrl_video.comfyui.layers import ComfyLayer
from masactrl_video.comfyui.networks import Answer, Look, NetworkLayer
from masactrl_video.model.backbones.qkv import QKV, split_heads

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class UNet:
    """A `ComfyNetwork`."""

    layers: tuple[ComfyLayer, ...]

    @contextmanager
    def looked(self, call: Call, wanted: Sequence[NetworkLayer], look: Look) -> Iterator[Options]:
        """See `ComfyNetwork`."""
        by_place = {layer.place: layer for layer in self.layers if layer in wanted}

        def see(
            n: torch.Tensor, context: torch.Tensor, value: torch.Tensor, extra: Options
        ) -> tuple[torch.Tensor, ...]:
            layer = by_place.get((*extra["block"], extra["block_index"])) if extra.get("block") else None
            if layer is not None:
                look(layer, layer.attention.to_k(context), layer.attention.to_v(value))
            return n, context, value

        patches = call.options.get("patches", {})
        yield {**call.options, "patches": {**patches, "attn1_patch": [*patches.get("attn1_patch", ()), see]}}

    @contextmanager
    def answered(self, call: Call, wanted: Sequence[NetworkLayer], answer: Answer) -> Iterator[Options]:
        """See `ComfyNetwork`."""
        others = call.options.get("patches_replace", {})
        ours = {
            layer.place: partial(_attend, answer, layer)
            for layer in self.layers
            if layer in wanted and not _leave_to_others(call.options, layer)
        }
        yield {**call.options, "patches_replace": {**others, "attn1": {**others.get("attn1", {}), **ours}}}


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
