"""Attention processors come off a UNet again, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from diffusers import UNet2DConditionModel

from masactrl_video.errors import UserError

Processor = Any
"""diffusers' processors share a calling convention but no common type."""


@contextmanager
def installed(unet: UNet2DConditionModel, processors: Mapping[str, Processor]) -> Iterator[None]:
    """Put `processors` (by their key in `unet.attn_processors`) in place and the previous ones back on leaving."""
    before = dict(unet.attn_processors)
    unknown = sorted(set(processors) - set(before))
    if unknown:
        raise UserError(f"the UNet has no attention processor named {unknown[0]!r}")
    unet.set_attn_processor({**before, **processors})
    try:
        yield
    finally:
        unet.set_attn_processor(before)  # a fresh dict: set_attn_processor empties the one it gets
