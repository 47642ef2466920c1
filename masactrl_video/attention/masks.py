"""Object maps, and the masks made of them (MasaCtrl, Sec. 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F


def normalised(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Mean over the layers, then min-max normalised for each row by itself: (rows, height, width) in [0, 1].

    A map that is the same everywhere shows no object and becomes all zeros.
    """
    mean = torch.stack(list(maps)).mean(dim=0)
    low, high = mean.amin(dim=(1, 2), keepdim=True), mean.amax(dim=(1, 2), keepdim=True)
    return torch.where(high > low, (mean - low) / (high - low).clamp_min(torch.finfo(mean.dtype).tiny), 0.0)


def binary_mask(object_map: torch.Tensor, threshold: float, grid: tuple[int, int]) -> torch.Tensor:
    """Resize (nearest) to a layer's grid and cut at `threshold`: (rows, height, width) -> bool (rows, grid tokens)."""
    resized = F.interpolate(object_map[:, None].float(), size=grid, mode="nearest")  # -> (rows, 1, *grid)
    return (resized >= threshold).flatten(1)


GROUND = -1
"""Owner of a token that belongs to no source's object."""


def owners(scores: torch.Tensor, threshold: float) -> torch.Tensor:
    """Who owns a token: the source with the highest score there, if that reaches `threshold`; else the ground.

    Args:
        scores: (sources, frames, tokens) in [0, 1]; 0 where a source may not be at all. Of equal scores the first wins.

    Returns:
        (frames, tokens), the number of a source or `GROUND`.
    """
    best, number = scores.max(dim=0)
    return torch.where((best >= threshold) & (best > 0), number, GROUND)


@dataclass(frozen=True)
class MaskRule:
    """Where masks of objects come from, for modes that need them."""

    target_tokens: tuple[int, ...] = ()
    """Positions of the object's words in the target's prompt; empty where the target's masks are given."""
    threshold: float = 0.1
    """Normalised attention from which a pixel belongs to the object (MasaCtrl, Sec. 4.2)."""
    source_mask: torch.Tensor | None = None
    """(height, width) bool on the latent grid: a given mask instead of the source's recorded object maps."""
