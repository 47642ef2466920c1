"""Mutual attention a second time, for any family: the source's keys and values taken and put in at torch's attention.

Keys are taken behind any rotation here, from one call of `scaled_dot_product_attention` to another, and the softmax is
spelled out. Of the package it needs what makes the plain picture alone: prompts, schedule, `predict` and `guided`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode


@dataclass
class Replay:
    """Which layers, and what their picture's tokens see."""

    layers: set[str]
    mode: str
    picture: Callable[[int, int], slice]
    """(tokens of the picture, of the whole softmax) → which of them are the picture's."""
    tokens: int
    source_object: torch.Tensor | None = None
    """(tokens,) bool, with `target_object` for the mode masked."""
    target_object: torch.Tensor | None = None
    kept: dict[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    inside: list[str] = field(default_factory=list)
    """Name of the controlled module in work."""
    writes: bool = True
    runs: bool = False
    """Whether the denoiser is being called."""

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """(1, heads, tokens, head_dim) each; the network's own mask is added to the scores.

        For the source's keys it is as for those of the picture.
        """
        name, own = self.inside[-1], self.picture(self.tokens, k.shape[2])
        if self.writes:
            self.kept[name] = (k[:, :, own], v[:, :, own])
            return softmax_attention(q, k, v, mask)
        key, value = self.kept[name]
        more = k.shape[2] - q.shape[2]  # keys of tokens that ask for nothing, before the picture's
        ask = slice(own.start - more, own.stop - more) if more else own
        rest = torch.ones(k.shape[2], dtype=torch.bool)
        rest[own] = False
        beside_k, beside_v = torch.cat([k[:, :, rest], key], 2), torch.cat([v[:, :, rest], value], 2)
        added = torch.zeros(1, 1, q.shape[2], k.shape[2]) if mask is None else mask
        beside = torch.cat([added[..., rest], added[..., own]], 3)
        if self.mode == "source":
            return softmax_attention(q, beside_k, beside_v, beside)
        out, queries = softmax_attention(q, k, v, mask), q[:, :, ask]
        if self.mode == "union":
            both = torch.cat([added, added[..., own]], 3)[:, :, ask]
            out[:, :, ask] = softmax_attention(queries, torch.cat([k, key], 2), torch.cat([v, value], 2), both)
            return out
        assert self.source_object is not None
        assert self.target_object is not None
        all_of_rest = torch.ones(int(rest.sum()), dtype=torch.bool)
        sides = [
            softmax_attention(
                queries, beside_k, beside_v, beside[:, :, ask].masked_fill(~torch.cat([all_of_rest, side]), -torch.inf)
            )
            for side in (self.source_object, ~self.source_object)
        ]
        if self.mode == "regions":  # the rest of the picture is its own
            sides[1] = out[:, :, ask]
        out[:, :, ask] = torch.where(self.target_object[:, None], *sides)
        return out


def softmax_attention(q: Any, k: Any, v: Any, added: torch.Tensor | None = None) -> torch.Tensor:
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if added is not None:
        scores = scores + added
    out: torch.Tensor = scores.softmax(-1) @ v
    return out


class _AtTorch(TorchFunctionMode):
    def __init__(self, replay: Replay) -> None:
        super().__init__()
        self.replay = replay

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention and self.replay.inside and self.replay.runs:
            given = dict(zip(("query", "key", "value", "attn_mask"), args, strict=False)) | (kwargs or {})
            return self.replay.attend(given["query"], given["key"], given["value"], given.get("attn_mask"))
        return func(*args, **(kwargs or {}))


def run(
    model: Any,
    scheduler: Any,
    replay: Replay,
    runs: list[tuple[Any, Any]],
    noise: Any,
    steps: set[int],
    scale: float,
    *,
    controls_read_prompt: bool = False,
) -> torch.Tensor:
    """Latents (runs, channels, height, width) of the source and of its targets, one picture and branch at a time.

    Args:
        runs: prompts and controls, first those of the source.
        steps: controlled ones.
        controls_read_prompt: what ControlNets give for the prompt counts in the negative prompt's branch too.
    """
    backbone = model.backbone
    hooks = [  # a ControlNet may share modules with the denoiser
        model.denoiser.register_forward_pre_hook(lambda *_: setattr(replay, "runs", True)),
        model.denoiser.register_forward_hook(lambda *_: setattr(replay, "runs", False)),
    ]
    for name in replay.layers:
        module = model.denoiser.get_submodule(name)
        hooks.append(module.register_forward_pre_hook(lambda *_, name=name: replay.inside.append(name)))
        hooks.append(module.register_forward_hook(lambda *_: replay.inside.pop() and None))
    given: dict[Any, Any] = {}
    place: tuple[int, int] = (0, 0)

    def once(network: torch.nn.Module, _: Any, out: Any) -> Any:
        return given.setdefault((network, *place), out)

    hooks += [network.module.register_forward_hook(once) for network in model.networks if controls_read_prompt]
    latents, total = [noise.clone() for _ in runs], len(scheduler.timesteps)
    schedulers = [copy.deepcopy(scheduler) for _ in runs]
    try:
        for step, t in enumerate(scheduler.timesteps):
            found: list[list[torch.Tensor]] = [[] for _ in runs]
            for branch in reversed(range(runs[0][0].branches)):
                replay.kept.clear()
                for number, (text, controls) in enumerate(runs):
                    replay.writes, place = number == 0 or step not in steps, (number, step)
                    model_input = schedulers[number].scale_model_input(latents[number], t)
                    with _AtTorch(replay) if step in steps else nullcontext():
                        out = backbone.predict(model, model_input, t, text.branch(branch), controls, step, total)
                    found[number].insert(0, out[0])
            for number, branches in enumerate(found):
                guided = backbone.guided(torch.stack(branches), scale)
                latents[number] = schedulers[number].step(guided, t, latents[number], return_dict=False)[0]
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat(latents)
