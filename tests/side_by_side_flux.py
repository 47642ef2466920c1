"""Mutual attention on FLUX written down a second time: source and targets side by side, by diffusers alone.

Nothing here is shared with the package: steps and layers are plain arguments, attention is spelled out, and tokens
are turned by complex numbers. Rows of a batch: [source, target 0, target 1, …] for each branch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.flux.pipeline_flux import FluxPipeline, calculate_shift


@dataclass
class SideBySide:
    """State of one run."""

    layers: set[str]
    """Names of the controlled attention modules."""
    mode: str
    rows: int
    """Of a branch: source and targets."""
    text_tokens: int
    axes: tuple[int, ...]
    grid: tuple[int, int]
    source_object: torch.Tensor | None = None
    """(tokens,) bool, with `target_object` for the mode masked."""
    target_object: torch.Tensor | None = None
    positions: str = "as-is"
    """Of the source's keys."""
    moved: tuple[tuple[int, int], ...] = ()
    """How far down and to the right the source's keys stand for each target, with the positions `pose`."""
    active: bool = False

    def turned(self, states: torch.Tensor, right: int = 0, down: int = 0) -> torch.Tensor:
        """(heads, text tokens + tokens, channels) with their places put in, the picture so far to the right, down."""
        height, width = self.grid
        rows = torch.arange(height).repeat_interleave(width) + down
        columns = torch.arange(width).repeat(height) + right
        place = torch.stack([torch.zeros_like(rows), rows, columns], 1).double()
        place = torch.cat([torch.zeros(self.text_tokens, 3).double(), place])
        angles = [
            place[:, axis, None] / 10000.0 ** (torch.arange(0, size, 2).double() / size)
            for axis, size in enumerate(self.axes)
        ]
        turn = torch.polar(torch.ones(1).double(), torch.cat(angles, 1))
        pairs = torch.view_as_complex(states.double().reshape(*states.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * turn).flatten(-2).to(states.dtype)


def softmax_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | float = 0.0) -> Any:
    return ((q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5) + bias).softmax(-1) @ v


class JointAttention:
    """A diffusers attention processor."""

    def __init__(self, name: str, state: SideBySide) -> None:
        self.name, self.state = name, state

    def __call__(self, attn: Any, hidden: Any, encoder_hidden_states: Any = None, *_: Any) -> Any:
        text = encoder_hidden_states

        def heads(states: torch.Tensor, norm: Any) -> torch.Tensor:
            states = states.reshape(*states.shape[:2], attn.heads, -1)
            return (norm(states) if norm is not None else states).transpose(1, 2)

        q, k, v = heads(attn.to_q(hidden), attn.norm_q), heads(attn.to_k(hidden), attn.norm_k), attn.to_v(hidden)
        v = heads(v, None)
        if text is not None:
            q = torch.cat([heads(attn.add_q_proj(text), attn.norm_added_q), q], 2)
            k = torch.cat([heads(attn.add_k_proj(text), attn.norm_added_k), k], 2)
            v = torch.cat([heads(attn.add_v_proj(text), None), v], 2)
        right = self.state.grid[1] if self.state.positions == "shifted" else 0
        for_target = [k if self.state.positions == "free" else self.state.turned(k, right)] * (self.state.rows - 1)
        if self.state.moved:
            for_target = [self.state.turned(k, aside, down) for down, aside in self.state.moved]
        q, k = self.state.turned(q), self.state.turned(k)
        out = softmax_attention(q, k, v)
        if self.state.active and self.name in self.state.layers:
            self.put_in(q, k, v, for_target, out)
        self.look(q, k)
        out = out.transpose(1, 2).flatten(2)
        if text is None:
            return out
        words = self.state.text_tokens
        return attn.to_out[0](out[:, words:]), attn.to_add_out(out[:, :words])

    def look(self, q: torch.Tensor, k: torch.Tensor) -> None:
        """Queries and keys of all rows, in every layer, after what is put in there."""

    def put_in(self, q: Any, k: Any, v: Any, for_target: list[torch.Tensor], out: torch.Tensor) -> None:
        """What targets get in a controlled layer, in place of what stands in `out`.

        Args:
            for_target: for each target, the keys of all rows as they stand for it.
        """
        for first in range(0, len(q), self.state.rows):
            for row in range(first + 1, first + self.state.rows):
                k_s = for_target[row - first - 1][first]
                out[row] = self.target(q[row], k[row], v[row], k_s, v[first], out[row])

    def target(self, q: Any, k: Any, v: Any, k_s: Any, v_s: Any, plain: Any) -> torch.Tensor:
        state, words = self.state, self.state.text_tokens
        text_k, text_v, k_s, v_s = k[:, :words], v[:, :words], k_s[:, words:], v_s[:, words:]
        beside_k, beside_v = torch.cat([text_k, k_s], 1), torch.cat([text_v, v_s], 1)
        if state.mode == "source":
            return softmax_attention(q, beside_k, beside_v)
        picture = q[:, words:]
        if state.mode == "union":
            new = softmax_attention(picture, torch.cat([k, k_s], 1), torch.cat([v, v_s], 1))
        else:
            seen_text = torch.ones(words, dtype=torch.bool)
            figure, ground = (
                softmax_attention(
                    picture, beside_k, beside_v, torch.where(torch.cat([seen_text, side]), 0.0, -torch.inf)
                )
                for side in (state.source_object, ~state.source_object)
            )
            if state.mode == "regions":
                ground = plain[:, words:]
            new = torch.where(state.target_object[:, None], figure, ground)
        return torch.cat([plain[:, :words], new], 1)


Residuals = Callable[[dict[str, Any], int], dict[str, Any]]


def run(
    pipe: FluxPipeline,
    state: SideBySide,
    prompts: list[list[str]],
    noise: torch.Tensor,
    active_steps: list[int],
    num_steps: int,
    scale: float,
    residuals: Residuals = lambda arguments, step: {},
    real_scale: float | None = None,
    attention: Callable[[str, SideBySide], JointAttention] = JointAttention,
) -> torch.Tensor:
    """Denoise [source, targets…] together: final latents (rows, channels, height, width).

    Args:
        prompts: for each branch, those of its rows; with two branches the first is without condition.
        noise: (1, channels, height, width).
        scale: that the network reads, and by which two branches are combined where there is no other.
        residuals: keyword arguments of ControlNets for a call.
    """
    network, scheduler = pipe.transformer, copy.deepcopy(pipe.scheduler)
    height, width = noise.shape[-2:]
    tokens = (height // 2) * (width // 2)
    shift = calculate_shift(tokens)
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / num_steps, num_steps), mu=shift)
    encoded = [pipe.encode_prompt(p, max_sequence_length=state.text_tokens) for row in prompts for p in row]
    latents = FluxPipeline._pack_latents(noise, 1, noise.shape[1], height, width).repeat(state.rows, 1, 1)
    guidance = torch.full([len(encoded)], scale) if network.config.guidance_embeds else None
    modules = {name: module for name, module in network.named_modules() if name.endswith(".attn")}
    before = {name: module.processor for name, module in modules.items()}
    for name, module in modules.items():
        module.set_processor(attention(name, state))
    try:
        for step, t in enumerate(scheduler.timesteps):
            state.active = step in active_steps
            arguments: dict[str, Any] = {
                "hidden_states": latents.repeat(len(prompts), 1, 1),
                "encoder_hidden_states": torch.cat([e[0] for e in encoded]),
                "pooled_projections": torch.cat([e[1] for e in encoded]),
                "timestep": t.expand(len(encoded)) / 1000,
                "txt_ids": encoded[0][2],
                "img_ids": FluxPipeline._prepare_latent_image_ids(1, height // 2, width // 2, "cpu", torch.float32),
                "guidance": guidance,
                "return_dict": False,
            }
            with torch.no_grad():
                branches = network(**arguments, **residuals(arguments, step))[0].chunk(len(prompts))
            out = (
                branches[0] if len(branches) == 1 else branches[0] + (real_scale or scale) * (branches[1] - branches[0])
            )
            latents = scheduler.step(out, t, latents, return_dict=False)[0]
    finally:
        for name, module in modules.items():
            module.set_processor(before[name])
    return FluxPipeline._unpack_latents(latents, height * 8, width * 8, 8)
