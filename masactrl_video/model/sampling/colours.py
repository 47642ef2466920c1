"""Mean and deviation of predicted clean latents, for each region; frames are aligned to those of their source.

AdaIN of x0, as Rerender-A-Video has it (2306.07954), against the source and never against the frame before: so frames
stay independent, and no error adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.sampling.clean import predicted_clean, with_clean
from masactrl_video.model.sampling.denoise import Alter

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


@dataclass(frozen=True, eq=False)
class HeldColours:
    """The colours that frames, or later sources, are aligned to in the late steps."""

    of_sources: torch.Tensor
    """(sources, steps, regions, 2, channels), as their recording has left them."""
    strength: float
    """Above 0; 1: to the full."""
    first_step: int
    """Denoising step from which frames are aligned."""

    def aligning(
        self, schedule: Schedule, weights: Sequence[Sequence[float]], figure: Callable[[], torch.Tensor | None]
    ) -> Alter:
        """What aligns the colours of a batch, each frame by itself.

        Args:
            schedule: of the frames.
            weights: how much each frame follows each source, summing to 1.
            figure: gives (frames, height, width) bool, where the object is in the step in progress; None: not known.
        """
        by_source = torch.tensor(weights, device=self.of_sources.device).T[..., None, None, None, None]
        parts = zip(by_source, self.of_sources, strict=True)  # no NaN of a source that a frame does not follow
        wanted = sum(torch.where(share > 0, share * colours, 0.0) for share, colours in parts)
        assert isinstance(wanted, torch.Tensor)  # (frames, steps, regions, 2, channels)

        def alter(output: torch.Tensor, latents: torch.Tensor, step: int) -> torch.Tensor:
            if step < self.first_step:
                return output
            clean = predicted_clean(schedule, output, latents, step)
            change = aligned(clean, wanted[:, step], figure(), self.strength)
            return with_clean(schedule, output, change, step)

        return alter
