"""A window on latents: the part of a picture that is denoised alone, where the rest is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F

_ALIGNED = 4
"""Windows begin and end at multiples of so many latent points: two halvings of a UNet then fall where they would."""
_WORTH = 0.9
"""Of the picture, above which a window saves too little for what it changes."""


@dataclass(frozen=True)
class Window:
    """Rows and columns of latents, in latent points."""

    top: int
    left: int
    height: int
    width: int
    whole: tuple[int, int]
    """Height and width of the whole."""

    def cut(self, states: torch.Tensor) -> torch.Tensor:
        """The part of (..., rows, columns) that lies in the window; of a coarser or finer grid what covers it."""
        rows, columns = (
            _part(begin, length, whole, cells)
            for begin, length, whole, cells in (
                (self.top, self.height, self.whole[0], states.shape[-2]),
                (self.left, self.width, self.whole[1], states.shape[-1]),
            )
        )
        return states[..., rows, columns]

    def placed(self, part: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
        """The whole (..., rows, columns): `part` in the window, and outside of it `rest`, which may be of size 1.

        Args:
            part: on a grid of the window as fine as the latents, or coarser.
        """
        size = tuple(-(-side * of // length) for side, of, length in self._sides(part))
        out = rest.expand(*part.shape[:-2], *size).clone()
        place = self.cut(out)
        if place.shape != part.shape:  # a coarse grid that does not divide the window
            flat = part.reshape(1, -1, *part.shape[-2:]).float()
            part = F.interpolate(flat, size=place.shape[-2:], mode="nearest").reshape(place.shape).to(part.dtype)
        place.copy_(part)
        return out

    def _sides(self, part: torch.Tensor) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        return (part.shape[-2], self.whole[0], self.height), (part.shape[-1], self.whole[1], self.width)


def cut_rows(states: torch.Tensor, part: Mapping[int, Window | None]) -> torch.Tensor:
    """Some rows of (rows, ..., rows, columns), each cut to its window, if it has one; these have the same size."""
    return torch.stack([states[row] if window is None else window.cut(states[row]) for row, window in part.items()])


def _part(begin: int, length: int, whole: int, cells: int) -> slice:
    wanted = -(-length * cells // whole)
    first = min(begin * cells // whole, cells - wanted)
    return slice(first, first + wanted)


def window_around(inside: torch.Tensor, margin: int) -> Window | None:
    """The smallest window that holds what is inside and so many points around it; None: the whole, or nearly.

    Args:
        inside: (height, width) bool.
    """
    height, width = inside.shape
    rows, columns = (inside.any(dim=axis).nonzero().flatten().tolist() for axis in (1, 0))
    if not rows:
        return None
    top, bottom = _aligned(rows[0] - margin, rows[-1] + 1 + margin, height)
    left, right = _aligned(columns[0] - margin, columns[-1] + 1 + margin, width)
    if (bottom - top) * (right - left) > _WORTH * height * width:
        return None
    return Window(top, left, bottom - top, right - left, (height, width))


def _aligned(begin: int, end: int, whole: int) -> tuple[int, int]:
    return max(0, begin // _ALIGNED * _ALIGNED), min(whole, -(-end // _ALIGNED) * _ALIGNED)
