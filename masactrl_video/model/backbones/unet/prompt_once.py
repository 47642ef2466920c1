"""Cross-attention to prompts that stay the same from step to step: their keys and values are computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.attention_processor import Attention

from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.qkv import split_heads
from masactrl_video.model.backbones.unet.processors import Processor, finished, installed, is_plain


@contextmanager
def reading_prompts_once(
    network: UNet2DConditionModel | ControlNetModel, prompts: Sequence[TextCondition]
) -> Iterator[None]:
    """Inside the context, the network computes keys and values of these prompts at their first use and keeps them.

    Exact, but for the last digits. Other prompts are read as before.
    """
    once = {
        f"{name}.processor": _ReadOnce(module.processor, prompts)
        for name, module in network.named_modules()
        if isinstance(module, Attention) and module.is_cross_attention and is_plain(module)
    }
    with installed(network, once):
        yield


class _ReadOnce:
    """diffusers attention processor: a branch's frames are one long query to the kept keys and values of its prompt."""

    def __init__(self, original: Processor, prompts: Sequence[TextCondition]) -> None:
        self.original, self.prompts = original, prompts
        self.kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        """Number of a prompt → key and value (branches, heads, text tokens, head_dim)."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        known = [number for number, text in enumerate(self.prompts) if text.has_rows(encoder_hidden_states)]
        if not known:
            out: torch.Tensor = self.original(attn, hidden_states, encoder_hidden_states, *args, **kwargs)
            return out
        key, value = self._keys_values(attn, known[0])
        query = attn.to_q(hidden_states)
        long = split_heads(query.reshape(len(key), -1, query.shape[-1]), attn.heads)
        attended = F.scaled_dot_product_attention(long, key, value)  # -> (branches, heads, frames x tokens, head_dim)
        return finished(attn, attended.transpose(1, 2).reshape(query.shape), hidden_states)

    def _keys_values(self, attn: Attention, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        if number not in self.kept:
            states = self.prompts[number].hidden_states
            self.kept[number] = (split_heads(attn.to_k(states), attn.heads), split_heads(attn.to_v(states), attn.heads))
        return self.kept[number]
