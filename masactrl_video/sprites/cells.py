"""Even cells of cut-out figures: one window for all, feet on one line, the middle of the body in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.sprites.alpha import Rgba

Cell = NDArray[np.uint8]
"""RGBA (side, side, 4); where alpha is 0, all is 0."""

_THERE = 128
"""Alpha from which a pixel counts as the figure's."""
_FARTHEST = 0.03
"""How far a sole may be from where a pose has it, in parts of the picture's side; farther, it is something else."""
_UNSURE = 0.025
"""How far a sole may be from that of the other figures and still be theirs, in parts of the picture's side."""
_MARGIN = 1 / 32
"""Left free around the largest figure, in parts of the cell."""


@dataclass(frozen=True)
class Window:
    """The part of every picture that becomes a cell, in px of the cut-out."""

    side: int
    cell_px: int
    ground_px: int
    """Row of the cell, from its top, on whose upper edge soles stand."""

    @property
    def anchor(self) -> tuple[float, float]:
        """Where feet stand, in parts of a cell from the left and from the top."""
        return 0.5, self.ground_px / self.cell_px


def soles_px(figures: Sequence[Rgba], ankles_px: Sequence[float], expected_px: float) -> list[float]:
    """y of each figure's soles: as far below its lower ankle as with most of them, so that the body does not tremble.

    A figure whose own sole is clearly elsewhere is taken at its word.

    Args:
        ankles_px: y of each one's lower ankle.
        expected_px: from there down to the ground, where nothing else is known.
    """
    side = len(figures[0])
    below = np.array([_lowest_px(figure) - ankle for figure, ankle in zip(figures, ankles_px, strict=True)])
    below[~(np.abs(below - expected_px) <= _FARTHEST * side)] = np.nan
    common = expected_px if np.isnan(below).all() else float(np.nanmedian(below))
    used = np.where(np.abs(below - common) > _UNSURE * side, below, common)  # NaN is above nothing
    return [float(ankle + depth) for ankle, depth in zip(ankles_px, used, strict=True)]


def _lowest_px(figure: Rgba) -> float:
    """y of the lower edge of the lowest part that is as wide as a foot, between rows; NaN where none is."""
    width = max(2, len(figure) // 64)
    levels = np.sort(figure[..., 3], axis=1)[:, -width].astype(float)  # what so many pixels of a row have at least
    rows = np.flatnonzero(levels >= _THERE)
    if not len(rows):
        return float("nan")
    inside, outside = levels[rows[-1]], levels[rows[-1] + 1] if rows[-1] + 1 < len(levels) else 0.0
    return float(rows[-1] + 0.5 + (inside - _THERE + 0.5) / (inside - outside))


def window_of(figures: Sequence[Rgba], soles_px: Sequence[float], cell_px: int, least_px: int) -> Window:
    """The smallest window around all figures.

    Args:
        soles_px: y of each figure's soles.
        least_px: a smaller window would make pictures larger.

    Raises:
        UserError: no figure is there.
    """
    side = len(figures[0])
    above, aside = 0.0, 0.0
    for figure, sole in zip(figures, soles_px, strict=True):
        rows, columns = (np.flatnonzero((figure[..., 3] >= _THERE).any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            continue
        above = max(above, sole - rows[0])
        aside = max(aside, abs(columns[0] - side / 2), abs(columns[-1] + 1 - side / 2))
    if not above:
        raise UserError("cells: no figure was found in the pictures; see the frames in the run's folder")
    margin = max(1, round(_MARGIN * cell_px))
    inner = cell_px - 2 * margin
    scale = max(2 * aside, above) / inner
    return Window(max(round(scale * cell_px), least_px), cell_px, cell_px - margin)


def to_cell(figure: Rgba, sole_px: float, window: Window, *, hard: bool) -> Cell:
    """A figure made smaller, by the mean of what a pixel covers."""
    side = len(figure)
    left = round(side / 2 - window.side / 2)
    top = round(sole_px - window.side * window.ground_px / window.cell_px)
    cut = np.zeros((window.side, window.side, 4), np.float32)
    rows, columns = (slice(max(0, at), min(side, at + window.side)) for at in (top, left))
    part = figure[rows, columns].astype(np.float32) / 255
    part = np.concatenate([part[..., :3] * part[..., 3:], part[..., 3:]], axis=2)  # colours count as much as alpha
    cut[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = part
    small = cv2.resize(cut, (window.cell_px, window.cell_px), interpolation=cv2.INTER_AREA)
    return _as_bytes(small, hard=hard)


def _as_bytes(small: NDArray[np.float32], *, hard: bool) -> Cell:
    alpha = small[..., 3:]
    colours = np.where(alpha > 0, small[..., :3] / np.maximum(alpha, 1e-6), 0)
    if hard:
        alpha = (alpha >= _THERE / 255).astype(np.float32)
    whole = np.round(np.concatenate([colours, alpha], axis=2).clip(0, 1) * 255).astype(np.uint8)
    return np.where(whole[..., 3:] > 0, whole, 0).astype(np.uint8)
