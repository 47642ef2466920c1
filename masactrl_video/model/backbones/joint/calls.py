"""What is read of a call of a transformer."""

from __future__ import annotations

import torch

from masactrl_video.errors import UserError


def timestep_of(timestep: torch.Tensor, title: str) -> float:
    """The timestep of all rows of a call.

    Args:
        title: what people call the family.

    Raises:
        UserError: rows have different ones.
    """
    values = set(timestep.flatten().tolist())
    if len(values) != 1:
        raise UserError(
            f"a call of {title}'s transformer mixes the timesteps {sorted(values)}; use one timestep a call"
        )
    return float(values.pop())


def rounding_of(timestep: torch.Tensor) -> float:
    """By how much its number format may have changed it, as a part of it; 0 for those that hold every timestep."""
    is_exact = not timestep.dtype.is_floating_point or timestep.dtype in (torch.float32, torch.float64)
    return 0.0 if is_exact else float(torch.finfo(timestep.dtype).eps)
