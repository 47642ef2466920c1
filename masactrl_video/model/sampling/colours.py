"""Mean and deviation of predicted clean latents, for each region; frames are aligned to those of their source.

AdaIN of x0, as Rerender-A-Video has it (2306.07954), against the source and never against the frame before: so frames
stay independent, and no error adds up.
"""

from __future__ import annotations

import torch

REGIONS = ("whole", "object", "ground")
"""The whole picture, and where its object is known, that and the rest."""

_FEWEST_POINTS = 8
"""Of a region, below which its deviation says nothing."""


def moments(clean: torch.Tensor, region: torch.Tensor | None = None) -> torch.Tensor:
    """Mean and standard deviation of each channel.

    Args:
        clean: (frames, channels, height, width) in float32.
        region: (frames, height, width) bool: over which points; None: all.

    Returns:
        (frames, 2, channels); NaN where a frame has hardly any point of the region.
    """
    if region is None:
        return torch.stack([clean.mean(dim=(2, 3)), clean.std(dim=(2, 3), correction=0)], dim=1)
    inside = region[:, None].to(clean.dtype)  # -> (frames, 1, height, width)
    count = inside.sum(dim=(2, 3))
    mean = (clean * inside).sum(dim=(2, 3)) / count
    away = (clean - mean[..., None, None]) * inside
    found = torch.stack([mean, (away.square().sum(dim=(2, 3)) / count).sqrt()], dim=1)
    return torch.where((count >= _FEWEST_POINTS)[..., None], found, torch.nan)


def moments_by_region(clean: torch.Tensor, figure: torch.Tensor | None) -> torch.Tensor:
    """(frames, regions, 2, channels), in the order of `REGIONS`; NaN for regions that are not known.

    Args:
        figure: (frames, height, width) bool: where the object is, if that is known.
    """
    whole = moments(clean)
    parts = [moments(clean, part) for part in (figure, ~figure)] if figure is not None else [whole * torch.nan] * 2
    return torch.stack([whole, *parts], dim=1)


def aligned(clean: torch.Tensor, wanted: torch.Tensor, figure: torch.Tensor | None, strength: float) -> torch.Tensor:
    """What clean latents must be changed by, so that their regions have the moments that are wanted.

    Args:
        clean: (frames, channels, height, width) in float32.
        wanted: (frames, regions, 2, channels), of each frame's source.
        figure: where the object is in each frame; None: the whole picture is one region.
        strength: 1: to the full.

    Returns:
        The change, of `clean`'s shape; 0 where a region is in the frame or in the source alone.
    """
    own = moments_by_region(clean, figure)
    regions = [(0, torch.ones_like(clean[:, 0], dtype=torch.bool))] if figure is None else [(1, figure), (2, ~figure)]
    change = torch.zeros_like(clean)
    for number, inside in regions:
        mean, deviation = (own[:, number, n, :, None, None] for n in (0, 1))
        new_mean, new_deviation = (wanted[:, number, n, :, None, None] for n in (0, 1))
        moved = (clean - mean) * (new_deviation / deviation.clamp_min(1e-6)) + new_mean - clean
        change = torch.where(inside[:, None] & moved.isfinite(), moved, change)
    return strength * change
