"""Which denoising step a UNet call belongs to, read from the call itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from masactrl_video.errors import UserError, counted


@dataclass(frozen=True)
class UNetCall:
    """What the attention layers need to know of the UNet call they are part of."""

    timestep: float
    rows: int
    """Batch size of the call: branches x frames."""
    latent_size: tuple[int, int]
    """Height and width of the latents."""


def index_of_timestep(timesteps: Sequence[float], timestep: float) -> int:
    """Index of the denoising step at `timestep`: a step is known by its timestep, never by a count of calls."""
    matches = [index for index, known in enumerate(timesteps) if known == timestep]
    if len(matches) != 1:
        span = f"{timesteps[0]:g} to {timesteps[-1]:g}" if timesteps else "none"
        raise UserError(
            f"timestep {timestep:g} is {'not' if not matches else 'more than once'} among the source's "
            f"{counted(len(timesteps), 'step')} ({span}); source and target need the same scheduler and number of steps"
        )
    return matches[0]


@contextmanager
def watch_calls(unet: UNet2DConditionModel, on_call: Callable[[UNetCall], None]) -> Iterator[None]:
    """Call `on_call` at the start of each UNet call made inside the context."""

    def before(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        sample = args[0] if args else kwargs["sample"]
        timestep = args[1] if len(args) > 1 else kwargs["timestep"]
        on_call(UNetCall(_as_number(timestep), sample.shape[0], tuple(sample.shape[-2:])))

    handle = unet.register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _as_number(timestep: torch.Tensor | float) -> float:
    if isinstance(timestep, torch.Tensor):
        values = timestep.flatten().tolist()
        if len(set(values)) != 1:
            raise UserError(f"a UNet call mixes the timesteps {sorted(set(values))}; use one timestep a call")
        return float(values[0])
    return float(timestep)
