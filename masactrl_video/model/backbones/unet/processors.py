"""Attention processors come off a UNet again, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0

from masactrl_video.errors import UserError

Processor = Any
"""diffusers' processors share a calling convention but no common type."""


@contextmanager
def installed(network: UNet2DConditionModel | ControlNetModel, processors: Mapping[str, Processor]) -> Iterator[None]:
    """Put `processors` (by their key in `network.attn_processors`) in place and the previous ones back on leaving."""
    before = dict(network.attn_processors)
    unknown = sorted(set(processors) - set(before))
    if unknown:
        raise UserError(f"the network has no attention processor named {unknown[0]!r}")
    network.set_attn_processor({**before, **processors})
    try:
        yield
    finally:
        network.set_attn_processor(before)  # a fresh dict: set_attn_processor empties the one it gets


def finished(attn: Attention, attended: torch.Tensor, hidden_states: torch.Tensor) -> torch.Tensor:
    """What follows attention in every processor: projection, dropout, and what the module adds and divides by.

    Args:
        attended: (rows, tokens, heads x head_dim).
        hidden_states: (rows, tokens, channels), the module's input.
    """
    out: torch.Tensor = attn.to_out[1](attn.to_out[0](attended))
    if attn.residual_connection:
        out = out + hidden_states
    return out / float(attn.rescale_output_factor)


def is_plain(attention: Attention) -> bool:
    """Whether it attends as diffusers has it by default: no row asks for another, and states enter as they are."""
    return type(attention.processor) in (AttnProcessor, AttnProcessor2_0) and not attention.norm_cross
