"""MasaCtrl written down a second time, straight from the paper: source and targets side by side in one batch.

Nothing here is shared with the package's attention code: attention matrices are spelled out, steps and layers are
plain arguments, and masks follow Eq. 6-8 with two full attentions that are blended.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F


@dataclass
class SideBySide:
    """State of one run. Rows of a batch: [source, target 0, target 1, …] for each branch."""

    layers: set[str]
    """Names of the controlled self-attention modules."""
    mode: str
    frames: int
    """Targets in the batch."""
    branches: int
    grids: dict[str, tuple[int, int]]
    """Transformer block → token grid."""
    source_tokens: Sequence[int] = ()
    target_tokens: Sequence[int] = ()
    map_blocks: Sequence[str] = ()
    threshold: float = 0.1
    source_maps: dict[int, list[torch.Tensor]] | None = None
    """Step → the source's attention to its words by map layer, where it comes from another pass than this one."""
    active: bool = False
    step: int = 0
    maps: list[torch.Tensor] = field(default_factory=list)
    """Cross-attention of the map layers that have run in this pass."""

    def soft(self, row: int, tokens: Sequence[int]) -> torch.Tensor:
        """Object map of one row of the conditional branch, from the layers that have run."""
        first = (self.branches - 1) * (1 + self.frames)
        return torch.stack([m[first + row, ..., list(tokens)].sum(-1) for m in self.maps]).mean(0)

    def cut(self, soft: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        soft = (soft - soft.min()) / (soft.max() - soft.min())
        return (F.interpolate(soft[None, None], size=grid)[0, 0] >= self.threshold).flatten().float()

    def source_mask(self, grid: tuple[int, int]) -> torch.Tensor:
        """Of the map layers that have run in this pass, as the target's mask is."""
        if self.source_maps is not None:
            return self.cut(torch.stack(self.source_maps[self.step][: len(self.maps)]).mean(0), grid)
        return self.cut(self.soft(0, self.source_tokens), grid)


def _softmax_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | float = 0.0) -> Any:
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + bias
    return scores.softmax(-1) @ v


class SelfAttention:
    """Eq. 5-8 on one layer."""

    def __init__(self, name: str, state: SideBySide) -> None:
        self.name, self.state = name, state

    def __call__(self, attn: Any, x: torch.Tensor, encoder_hidden_states: Any = None, **kwargs: Any) -> torch.Tensor:
        state = self.state
        heads = attn.heads

        def split(t: torch.Tensor) -> torch.Tensor:
            return t.reshape(t.shape[0], t.shape[1], heads, -1).transpose(1, 2)

        q, k, v = split(attn.to_q(x)), split(attn.to_k(x)), split(attn.to_v(x))
        out = _softmax_attention(q, k, v)
        if state.active and self.name in state.layers:
            rows = 1 + state.frames
            for branch in range(state.branches):
                s = branch * rows
                for target in range(1, rows):
                    out[s + target] = self.target(q[s + target], k[s + target], v[s + target], k[s], v[s], target)
        out = out.transpose(1, 2).reshape(x.shape[0], x.shape[1], -1)
        return attn.to_out[0](out)

    def target(self, q: Any, k: Any, v: Any, k_s: Any, v_s: Any, row: int) -> torch.Tensor:
        state = self.state
        if state.mode == "source":
            return _softmax_attention(q, k_s, v_s)
        if state.mode == "union":
            return _softmax_attention(q, torch.cat([k, k_s], 1), torch.cat([v, v_s], 1))
        grid = state.grids[self.name.removesuffix(".attn1")]
        m_s = state.source_mask(grid)
        m = state.cut(state.soft(row, state.target_tokens), grid)
        lowest = torch.finfo(q.dtype).min
        f_o = _softmax_attention(q, k_s, v_s, torch.where(m_s > 0, 0.0, lowest))
        f_b = _softmax_attention(q, k_s, v_s, torch.where(m_s > 0, lowest, 0.0))
        return f_o * m[:, None] + f_b * (1 - m[:, None])


class CrossAttention:
    """Plain cross-attention that keeps the maps of the map layers."""

    def __init__(self, block: str, state: SideBySide) -> None:
        self.block, self.state = block, state

    def __call__(self, attn: Any, x: torch.Tensor, encoder_hidden_states: Any = None, **kwargs: Any) -> torch.Tensor:
        def split(t: torch.Tensor) -> torch.Tensor:
            return t.reshape(t.shape[0], t.shape[1], attn.heads, -1).transpose(1, 2)

        text = encoder_hidden_states
        q, k, v = split(attn.to_q(x)), split(attn.to_k(text)), split(attn.to_v(text))
        probabilities = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        if self.block in self.state.map_blocks:
            height, width = self.state.grids[self.block]
            self.state.maps.append(probabilities.mean(1).reshape(x.shape[0], height, width, -1))
        out = (probabilities @ v).transpose(1, 2).reshape(x.shape[0], x.shape[1], -1)
        return attn.to_out[0](out)


def run(
    unet: Any,
    scheduler: Any,
    state: SideBySide,
    steps: Sequence[int],
    noise: torch.Tensor,
    call: Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor],
    guidance_scale: float,
    source_latents: Sequence[torch.Tensor] | None = None,
) -> torch.Tensor:
    """Denoise [source, targets…] together; returns the final latents, source first.

    Args:
        call: (rows for all branches, timestep, step) → UNet output, with guidance and prompts.
        source_latents: of a real source, its latents at every step.
    """
    scheduler = copy.deepcopy(scheduler)
    before = dict(unet.attn_processors)
    processors: dict[str, Any] = {}
    for key in before:
        name = key.removesuffix(".processor")
        block = name.rsplit(".", 1)[0]
        processors[key] = SelfAttention(name, state) if name.endswith("attn1") else CrossAttention(block, state)
    unet.set_attn_processor(processors)
    latents = noise * scheduler.init_noise_sigma
    try:
        for step, t in enumerate(scheduler.timesteps):
            if source_latents is not None:
                latents = torch.cat([source_latents[step], latents[1:]])
            state.active, state.step, state.maps = step in steps, step, []
            model_input = scheduler.scale_model_input(torch.cat([latents] * state.branches), t)
            with torch.no_grad():
                out = call(model_input, t, step).chunk(state.branches)
            guided = out[0] if len(out) == 1 else out[0] + guidance_scale * (out[1] - out[0])
            if source_latents is not None:
                guided = torch.cat([out[-1][:1], guided[1:]])  # a real source is not guided
            latents = scheduler.step(guided, t, latents, return_dict=False)[0]
    finally:
        unet.set_attn_processor(before)
    return latents
