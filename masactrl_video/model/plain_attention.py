"""Whether an attention module is as diffusers sets it up, or somebody has put something of their own on it."""

from __future__ import annotations

from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0


def is_plain(attention: Attention) -> bool:
    """Whether it attends as diffusers has it by default: no row asks for another, and states enter as they are."""
    return type(attention.processor) in (AttnProcessor, AttnProcessor2_0) and not attention.norm_cross
