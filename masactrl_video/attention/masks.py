"""Object maps, and the masks made of them (MasaCtrl, Sec. 4.2)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from masactrl_video.settings.names import MaskCells, Rim


def normalised(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Mean over the layers, then min-max normalised for each row by itself: (rows, height, width) in [0, 1].

    A map that is the same everywhere shows no object and becomes all zeros.
    """
    mean = torch.stack(list(maps)).mean(dim=0)
    low, high = mean.amin(dim=(1, 2), keepdim=True), mean.amax(dim=(1, 2), keepdim=True)
    return torch.where(high > low, (mean - low) / (high - low).clamp_min(torch.finfo(mean.dtype).tiny), 0.0)


def binary_mask(
    object_map: torch.Tensor, threshold: float, grid: tuple[int, int], cells: MaskCells = "nearest"
) -> torch.Tensor:
    """Cut at `threshold`, on a layer's grid: (rows, height, width) -> bool (rows, grid tokens).

    Args:
        cells: `nearest`: a cell is the object's if the first of its points is; `area`: if half of its area is.
    """
    if cells == "area":
        inside = (object_map[:, None].float() >= threshold).float()
        return (F.adaptive_avg_pool2d(inside, grid) >= 0.5).flatten(1)
    resized = F.interpolate(object_map[:, None].float(), size=grid, mode="nearest")  # -> (rows, 1, *grid)
    return (resized >= threshold).flatten(1)


def joined_maps(groups: Iterable[Sequence[torch.Tensor]]) -> torch.Tensor | None:
    """(rows, height, width) in [0, 1]: of an object and what it wears, each normalised by itself, the highest.

    Args:
        groups: for the object's words, and for each attribute, the layers' maps (rows, height, width), if any.
    """
    maps = [normalised(layers) for layers in groups if layers]
    return torch.stack(maps).amax(dim=0) if len(maps) > 1 else maps[0] if maps else None


def slope_widths(object_map: torch.Tensor, threshold: float) -> list[int]:
    """How many cells beyond the threshold each map takes to fall to 0, as steeply as it crosses the threshold.

    Args:
        object_map: (rows, height, width) in [0, 1].

    Returns:
        For each row from 1 to an eighth of the shorter side, but 1 at least; 0 where no map crosses the threshold.
    """
    inside, most = object_map >= threshold, max(1, min(object_map.shape[1:]) // 8)
    widths = []
    for row, own in zip(object_map.float(), inside, strict=True):
        steps = [
            (a - b).abs()[at ^ beside]
            for a, b, at, beside in (
                (row[1:], row[:-1], own[1:], own[:-1]),
                (row[:, 1:], row[:, :-1], own[:, 1:], own[:, :-1]),
            )
        ]
        crossing = torch.cat(steps)
        slope = float(crossing.mean()) if len(crossing) else 0.0
        widths.append(min(most, max(1, math.ceil(threshold / slope))) if slope > 0 else 0)
    return widths


def rim_around(mask: torch.Tensor, grid: tuple[int, int], widths: Sequence[int]) -> torch.Tensor:
    """Tokens that are not the object's, but within so many cells of it.

    Args:
        mask: (rows, grid tokens) bool.
        widths: of each row.

    Returns:
        The same shape, bool.
    """
    whole, wide = mask.reshape(-1, 1, *grid).float(), torch.zeros_like(mask)
    for width in {width for width in widths if width}:
        rows = [row for row, own in enumerate(widths) if own == width]
        grown = F.max_pool2d(whole[rows], 2 * width + 1, stride=1, padding=width).flatten(1) > 0
        wide[rows] = grown & ~mask[rows]
    return wide


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
    rim: Rim = 0
    """So many latent points around each mask, of source and target, which both sides may ask; `auto`: as wide as the
    map's own slope."""
    attributes: tuple[tuple[int, ...], ...] = ()
    """Positions of the words of each thing that the object wears, whose own maps join the object's."""
    cells: MaskCells = "nearest"
    """Which cells of a coarser layer are the object's, see `binary_mask`."""

    def cut(
        self,
        object_map: torch.Tensor,
        grid: tuple[int, int],
        latent_size: tuple[int, int],
        *,
        is_given: bool,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The object, and its rim if there are rims, on a layer's grid: each (rows, grid tokens) bool.

        Args:
            object_map: (rows, height, width): by words, in [0, 1], or given as bool.
            latent_size: height and width of the latents.
        """
        threshold, by_words = (0.5, None) if is_given else (self.threshold, object_map)
        mask = binary_mask(object_map, threshold, grid, self.cells)
        if not self.rim:
            return mask, None
        if self.cells == "nearest":
            return mask, rim_around(mask, grid, self.rim_widths(by_words, len(mask), latent_size[0], grid[0]))
        finest = binary_mask(object_map, threshold, latent_size, self.cells)
        widths = self.rim_widths(by_words, len(mask), latent_size[0], latent_size[0])
        wide = (finest | rim_around(finest, latent_size, widths)).reshape(-1, *latent_size)
        return mask, binary_mask(wide, 0.5, grid, self.cells) & ~mask

    def rim_widths(self, object_map: torch.Tensor | None, rows: int, latent_side: int, grid_side: int) -> list[int]:
        """Width of each row's rim in cells of a layer.

        Args:
            object_map: (rows, height, width) in [0, 1] of masks that are found by words; None: they are given.
            latent_side: height of the latents.
            grid_side: height of the layer's grid.
        """
        if self.rim != "auto":
            points = [float(self.rim)] * rows
        elif object_map is None:  # a given mask falls at once
            points = [1.0] * rows
        else:
            scale = latent_side / object_map.shape[1]
            points = [width * scale for width in slope_widths(object_map, self.threshold)]
        return [math.ceil(width * grid_side / latent_side) for width in points]
