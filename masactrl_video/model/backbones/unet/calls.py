"""The calls of a UNet, watched from outside: the timestep, and how much is denoised at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.calls import watching
from masactrl_video.model.backbones.steps import DenoiserCall


def watch_calls(
    unet: UNet2DConditionModel, on_begin: Callable[[DenoiserCall], None], on_end: Callable[[], None] | None = None
) -> AbstractContextManager[None]:
    """Inside the context, each call of the UNet is told of (see `watching`)."""
    return watching(unet, _described, on_begin, on_end)


def _described(args: tuple[Any, ...], kwargs: dict[str, Any]) -> DenoiserCall:
    sample = args[0] if args else kwargs["sample"]
    timestep = args[1] if len(args) > 1 else kwargs["timestep"]
    return DenoiserCall(_as_number(timestep), sample.shape[0], tuple(sample.shape[-2:]), _rounding(timestep))


def _as_number(timestep: torch.Tensor | float) -> float:
    if isinstance(timestep, torch.Tensor):
        values = timestep.flatten().tolist()
        if len(set(values)) != 1:
            raise UserError(f"a UNet call mixes the timesteps {sorted(set(values))}; use one timestep a call")
        return float(values[0])
    return float(timestep)


def _rounding(timestep: torch.Tensor | float) -> float:
    """How coarse the numbers of half precision are, as a part of the number; others hold every timestep as it is."""
    if not isinstance(timestep, torch.Tensor) or timestep.dtype not in (torch.float16, torch.bfloat16):
        return 0.0
    return float(torch.finfo(timestep.dtype).eps) / 2
