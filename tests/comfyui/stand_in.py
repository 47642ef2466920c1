"""A stand-in of what the nodes touch in ComfyUI: a MODEL with wrappers and patches, a small UNet, Euler steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

CHANNELS = 8


class Attention(nn.Module):
    def __init__(self, heads: int = 2) -> None:
        super().__init__()
        self.heads, self.dim_head = heads, CHANNELS // heads
        self.to_q, self.to_k, self.to_v, self.to_out = (nn.Linear(CHANNELS, CHANNELS, bias=False) for _ in range(4))

    def forward(self, x: torch.Tensor, context: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        states = (self.to_q(x), self.to_k(context), self.to_v(value))
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in states)
        out: torch.Tensor = self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn1, self.attn2 = Attention(), Attention()

    def forward(self, x: torch.Tensor, text: torch.Tensor, options: dict[str, Any], number: int) -> torch.Tensor:
        extra = {key: value for key, value in options.items() if key not in ("patches", "patches_replace")}
        extra |= {"n_heads": self.attn1.heads, "dim_head": self.attn1.dim_head, "block_index": number}
        x = self.to_picture(x, options, number)
        n = F.layer_norm(x, (CHANNELS,))
        context = value = text
        for patch in options.get("patches", {}).get("attn2_patch", ()):
            n, context, value = patch(n, context, value, extra)
        return x + self.attn2(n, context, value)

    def to_picture(self, x: torch.Tensor, options: dict[str, Any], number: int) -> torch.Tensor:
        extra = {key: value for key, value in options.items() if key not in ("patches", "patches_replace")}
        extra |= {"n_heads": self.attn1.heads, "dim_head": self.attn1.dim_head, "block_index": number}
        n = context = value = F.layer_norm(x, (CHANNELS,))
        for patch in options.get("patches", {}).get("attn1_patch", ()):
            n, context, value = patch(n, context, value, extra)
        q, k, v = self.attn1.to_q(n), self.attn1.to_k(context), self.attn1.to_v(value)
        answers = options.get("patches_replace", {}).get("attn1", {})
        place = (*options["block"], number)
        if place in answers:
            return x + self.attn1.to_out(answers[place](q, k, v, extra))
        return x + self.attn1(n, context, value)


class SpatialTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.transformer_blocks = nn.ModuleList([Block()])


class Downsample(nn.Conv2d):
    pass


class Upsample(nn.ConvTranspose2d):
    pass


class UNet(nn.Module):
    """Two layers on the latents' grid, and one on half of it between them."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Conv2d(4, CHANNELS, 1), nn.Conv2d(CHANNELS, 4, 1)
        down, up = Downsample(CHANNELS, CHANNELS, 3, 2, 1), Upsample(CHANNELS, CHANNELS, 2, 2)
        self.input_blocks = nn.ModuleList([nn.ModuleList([SpatialTransformer()]), nn.ModuleList([down])])
        self.middle_block = nn.ModuleList([SpatialTransformer(), up])
        self.output_blocks = nn.ModuleList([nn.ModuleList([SpatialTransformer()])])

    def forward(self, x: torch.Tensor, t: torch.Tensor, context: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        inner: Callable[..., torch.Tensor] = self.inner
        for each in options.get("wrappers", {}).get("diffusion_model", {}).values():
            for wrapper in each:
                inner = _around(wrapper, inner)
        return inner(x, t, context, None, None, options)

    def inner(
        self, x: torch.Tensor, t: torch.Tensor, context: torch.Tensor, y: None, control: None, options: dict[str, Any]
    ) -> torch.Tensor:
        h = self.into(x) + context.mean(dim=1)[:, :, None, None] + t[:, None, None, None]
        stages = [("input", i, s) for i, s in enumerate(self.input_blocks)] + [("middle", 0, self.middle_block)]
        for part, number, stage in [*stages, ("output", 0, self.output_blocks[0])]:
            options["block"] = (part, number)
            for module in stage:
                if isinstance(module, SpatialTransformer):
                    size = h.shape[2:]
                    h = h.flatten(2).transpose(1, 2)
                    for index, block in enumerate(module.transformer_blocks):
                        h = block(h, context, options, index)
                    h = h.transpose(1, 2).unflatten(2, size)
                else:
                    h = module(h)
        return self.out(h)


def _around(wrapper: Callable[..., Any], inner: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments, **named: wrapper(inner, *arguments, **named)


class Model:
    """A MODEL: `clone` shares the weights."""

    def __init__(self, unet: nn.Module) -> None:
        self.model = nn.Module()
        self.model.diffusion_model = unet
        self.wrappers: dict[str, dict[str, list[Callable[..., Any]]]] = defaultdict(dict)
        self.attachments: dict[str, object] = {}
        self.backup: dict[str, SimpleNamespace] = {}
        self.options: dict[str, Any] = {}

    def clone(self) -> Model:
        other = Model(self.model.diffusion_model)
        other.wrappers.update({kind: {k: list(w) for k, w in of.items()} for kind, of in self.wrappers.items()})
        other.attachments, other.backup, other.options = dict(self.attachments), self.backup, dict(self.options)
        return other

    def add_wrapper_with_key(self, kind: str, key: str, wrapper: Callable[..., Any]) -> None:
        self.wrappers[kind].setdefault(key, []).append(wrapper)

    def remove_wrappers_with_key(self, kind: str, key: str) -> None:
        self.wrappers[kind].pop(key, None)

    def set_attachments(self, key: str, attachment: object) -> None:
        self.attachments[key] = attachment

    def get_attachment(self, key: str) -> Any:
        return self.attachments.get(key)


SIGMAS = [8.0, 4.0, 2.0, 1.0, 0.0]


def sample(
    model: Model,
    noise: torch.Tensor,
    prompt: torch.Tensor,
    sigmas: Sequence[float] = SIGMAS,
    *,
    scale: float = 3.0,
    together: bool = True,
    orders: Sequence[Sequence[int]] = ((1, 0),),
    stop_at: int | None = None,
) -> torch.Tensor:
    """Euler steps with guidance; both prompts in one call, in these orders by turns, or one after the other.

    Args:
        stop_at: an exception is raised before this step.
    """

    def euler(noise: torch.Tensor, latents: torch.Tensor, sampler: None, sigmas: torch.Tensor) -> torch.Tensor:
        x = noise * sigmas[0]
        for number, (sigma, following) in enumerate(pairwise(sigmas)):
            if number == stop_at:
                raise KeyboardInterrupt
            order = list(orders[number % len(orders)]) if scale != 1 else [0]
            made = calls(None, [prompt, prompt * 0], x, sigma, order)
            noise_there = made[0] if scale == 1 else made[1] + scale * (made[0] - made[1])
            x = x + noise_there * (following - sigma)
        return x

    def calc_cond_batch(
        _: None, conds: Sequence[torch.Tensor | None], x: torch.Tensor, sigma: torch.Tensor, order: Sequence[int]
    ) -> list[torch.Tensor]:
        wanted, made = [branch for branch in order if conds[branch] is not None], {}
        for chunk in [wanted] if together else [[branch] for branch in wanted]:
            rows = torch.cat([x] * len(chunk)) / (sigma**2 + 1) ** 0.5
            text = torch.cat([(prompt if branch == 0 else prompt * 0).expand(len(x), -1, -1) for branch in chunk])
            options = {**model.options, "wrappers": model.wrappers, "cond_or_uncond": chunk, "sigmas": sigma[None]}
            times = sigma.log().expand(len(rows))
            out = model.model.diffusion_model(rows, times, text, options)
            made |= dict(zip(chunk, out.chunk(len(chunk)), strict=True))
        return [made.get(branch, torch.zeros_like(x)) for branch in range(len(conds))]

    calls: Callable[..., list[torch.Tensor]] = calc_cond_batch
    for each in model.wrappers["calc_cond_batch"].values():
        for wrapper in each:
            calls = _around(wrapper, calls)
    run: Callable[..., torch.Tensor] = euler
    for each in model.wrappers["outer_sample"].values():
        for wrapper in each:
            run = _around(wrapper, run)
    with torch.no_grad():
        return run(noise, torch.zeros_like(noise), None, torch.tensor(sigmas))
