"""How far the feet of sprites of the cartoon world are from their line, by the keypoint network.

The network finds ankles, not soles, so what it finds in a sprite is compared with what it finds in the exact figure of
the same pose, whose soles are on the line. Two errors would not cancel out:

- Where legs cross, it may take one foot for the other. So the foot is sought that the pose stands on: of all places
  that the network holds for an ankle, the nearest to it. Where it holds none there for one, the cell counts as wrong.
- It answers on a grid of 4 px, so what it finds depends a little on where a picture lies on that grid. Each picture is
  shown at eight places.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from masactrl_video.demo.folder import WEIGHTS
from masactrl_video.demo.world.draw import Canvas, Colour
from masactrl_video.demo.world.figure import Figure, draw_body, figure_of
from masactrl_video.demo.world.identity import Identity
from masactrl_video.demo.world.poses import GivenPose
from masactrl_video.poses.cycles import GROUND
from masactrl_video.poses.detectors.network import LOWEST_PEAK, STRIDE, KeypointNetwork, log_bump, top_between_cells
from masactrl_video.poses.skeleton import ANKLES

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]

FLAT: Colour = (150, 190, 150)
SHIFTS_PX = np.arange(-2, 2, 0.5)  # the network answers on a grid of 4 px: a picture is shown to it at eight places
LEAST_LOGIT = math.log(LOWEST_PEAK / (1 - LOWEST_PEAK))
FAR_PX = 12
"""An ankle so far from that of the pose is another one."""
FINE = 16


def standing_on(identity: Identity, pose: GivenPose, ground_px: float, share: float, cell_px: int) -> Figure:
    """The exact figure in a cell, its soles on the line. share: of a picture's side in it.

    The world rounds its outlines to half a pixel or so, so the soles are those of the figure as drawn at this size.
    """
    points, height = (pose.points - (0.5, GROUND)) * share + 0.5, pose.height * share
    figure = figure_of(identity, points, height)
    for _ in range(2):
        points = points + np.array([0, (ground_px - sole_px(figure, cell_px)) / cell_px])
        figure = figure_of(identity, points, height)
    return figure


def sole_px(figure: Figure, cell_px: int) -> float:
    """Lower edge of the lowest part of the exact figure that is 2 px wide, between pixels."""
    fine = cv2.resize(covered(figure, cell_px), None, fx=FINE, fy=FINE, interpolation=cv2.INTER_CUBIC)
    return float((np.flatnonzero((fine >= 0.5).sum(axis=1) >= FINE * cell_px // 64)[-1] + 1) / FINE)


def covered(figure: Figure, cell_px: int) -> Floats:
    """How much of each pixel the exact figure covers."""
    black, white = (exact_cell(figure, cell_px, (level,) * 3).astype(np.float64) for level in (0, 255))
    return 1 - (white - black).mean(axis=2) / 255


def exact_cell(figure: Figure, cell_px: int, ground: Colour = FLAT) -> Picture:
    """The figure over the flat ground."""
    canvas = Canvas(cell_px, cell_px)
    canvas.gradient(ground, ground, 0, 1)
    draw_body(canvas, figure)
    return canvas.picture()


def over_flat(cell: Picture) -> Picture:
    """A cell over the flat ground."""
    alpha = cell[..., 3:] / 255
    return np.asarray(np.round(cell[..., :3] * alpha + np.array(FLAT) * (1 - alpha)), np.uint8)


class FootFinder:
    """The keypoint network, asked for one foot."""

    def __init__(self) -> None:
        self._network: Any = KeypointNetwork.from_pretrained(WEIGHTS / "keypoints").eval()

    @torch.no_grad()
    def ankle_px(self, picture: Picture, near: Floats) -> Floats:
        """y of the ankle nearest to a place, as found at each shift; NaN where it is not found. (shifts,)

        picture: RGB, as large as the network's pictures; near: x and y in px.
        """
        assert len(picture) == self._network.config.sample_size
        moves = [np.array([[1, 0, 0], [0, 1, shift]], np.float32) for shift in SHIFTS_PX]
        moved = [
            cv2.warpAffine(picture, move, picture.shape[:2], flags=cv2.INTER_CUBIC, borderValue=FLAT) for move in moves
        ]
        pixels = torch.from_numpy(np.array(moved)).permute(0, 3, 1, 2).float() / 127.5 - 1
        maps = self._network(pixels)[:, list(ANKLES)].amax(dim=1).numpy()  # -> (shifts, rows, columns)
        found = [_nearest(logits, near + np.array([0, by])) - by for logits, by in zip(maps, SHIFTS_PX, strict=True)]
        return np.array(found)


def _nearest(logits: NDArray[np.float32], near: Floats) -> float:
    """y in px of the peak nearest to a place; NaN where there is none."""
    bump = log_bump(logits)
    tops = (bump == cv2.dilate(bump, np.ones((3, 3), np.uint8))) & (logits >= LEAST_LOGIT)
    places = [top_between_cells(bump, row, column) for row, column in np.argwhere(tops)]
    found = (np.array(places, np.float64).reshape(-1, 2) + 0.5) * STRIDE - 0.5
    away = np.linalg.norm(found - near, axis=1)
    return float(found[away.argmin(), 1]) if len(away) and away.min() <= FAR_PX else float("nan")


@dataclass(frozen=True)
class Feet:
    """How far the feet of cells are from those of exact figures on the line, px; positive is lower."""

    off: Floats
    """(cells,); NaN where the foot is not seen in both."""

    def figures(self) -> dict[str, float]:
        """As they are printed; `common_px` is what all cells are off alike, `trembling_px` the mean of the rest."""
        common = float(np.nanmedian(self.off))
        return {
            "cells": len(self.off),
            "found": int(np.isfinite(self.off).sum()),
            "within_1_px": int((np.abs(self.off) <= 1).sum()),
            "common_px": common,
            "trembling_px": float(np.nanmean(np.abs(self.off - common))),
            "within_1_px_of_common": int((np.abs(self.off - common) <= 1).sum()),
        }


def feet(cells: Sequence[Picture], figures: Sequence[Figure]) -> Feet:
    """The feet of sprites beside those of exact figures.

    Args:
        cells: RGBA.
        figures: the exact one of each, its soles on the line.
    """
    finder = FootFinder()
    off = []
    for cell, figure in zip(cells, figures, strict=True):
        ankles = figure.joints[list(ANKLES)] * len(cell) - 0.5
        near = ankles[ankles[:, 1].argmax()]
        apart = finder.ankle_px(over_flat(cell), near) - finder.ankle_px(exact_cell(figure, len(cell)), near)
        seen = np.isfinite(apart)
        off.append(apart[seen].mean() if 2 * seen.sum() >= len(apart) else np.nan)
    return Feet(np.array(off))
