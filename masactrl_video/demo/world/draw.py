"""Anti-aliased filled shapes on a canvas measured in picture heights."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
Points = NDArray[np.float64]

OUTLINE: Colour = (48, 36, 40)
_OVERSAMPLING = 2
_SHIFT = 4  # fractional bits of OpenCV's coordinates
_ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
_HALF = np.stack([np.cos(np.linspace(0, np.pi, 10)), np.sin(np.linspace(0, np.pi, 10))], axis=1)


def ellipse(centre: Points, half_width: float, half_height: float, angle: float = 0.0) -> Points:
    """Outline of an ellipse, turned clockwise by ``angle`` radians. (24, 2)"""
    return centre + (_CIRCLE * (half_width, half_height)) @ rotation(angle)


def capsule(start: Points, end: Points, start_radius: float, end_radius: float) -> Points:
    """Outline of a limb with round ends of different radii. (20, 2)"""
    along = np.arctan2(end[1] - start[1], end[0] - start[0])
    turned = rotation(along - np.pi / 2)
    return np.concatenate([end + end_radius * _HALF @ turned, start - start_radius * _HALF @ turned])


def rotation(angle: float) -> Points:
    """Matrix that turns row vectors clockwise on the screen by ``angle`` radians. (2, 2)"""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, sine], [-sine, cosine]])


@dataclass
class Canvas:
    """An RGB picture and, beside it, a mask of what was drawn while ``in_figure`` was set."""

    height_px: int
    width_px: int
    in_figure: bool = False
    aside: tuple[float, ...] = (0.0,)
    """Each polygon is drawn so far to the right, in picture heights, once for each: a view that is turned."""
    _picture: NDArray[np.uint8] = field(init=False)
    _mask: NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        size = (self.height_px * _OVERSAMPLING, self.width_px * _OVERSAMPLING)
        self._picture = np.zeros((*size, 3), np.uint8)
        self._mask = np.zeros(size, np.uint8)

    @property
    def width(self) -> float:
        """Width in picture heights."""
        return self.width_px / self.height_px

    def fill(self, points: Points, colour: Colour, outline: float = 0.0) -> None:
        """Fills a polygon, with a dark line of the given width around it. Points are (x, y) in picture heights."""
        for aside in self.aside:
            moved = points + np.array([aside, 0.0]) if aside else points
            scaled = moved * (self.height_px * _OVERSAMPLING) - 0.5  # pixel centres lie at whole numbers
            fixed = np.round(scaled * 2**_SHIFT).astype(np.int32)[None]
            if outline:
                self._line(fixed, outline)
            cv2.fillPoly(self._picture, fixed, colour, cv2.LINE_AA, _SHIFT)
            if self.in_figure:
                cv2.fillPoly(self._mask, fixed, 255, cv2.LINE_AA, _SHIFT)

    def _line(self, fixed: NDArray[np.int32], width: float) -> None:
        thickness = max(1, round(2 * width * self.height_px * _OVERSAMPLING))
        cv2.polylines(self._picture, [fixed[0]], True, OUTLINE, thickness, cv2.LINE_AA, _SHIFT)
        if self.in_figure:
            cv2.polylines(self._mask, [fixed[0]], True, 255, thickness, cv2.LINE_AA, _SHIFT)

    def gradient(self, top: Colour, bottom: Colour, start: float, end: float) -> None:
        """Fills the rows between two heights with a vertical gradient."""
        rows = slice(*(round(height * self.height_px * _OVERSAMPLING) for height in (start, end)))
        part = self._picture[rows]
        weight = np.linspace(0, 1, len(part))[:, None]
        part[:] = (np.array(top) * (1 - weight) + np.array(bottom) * weight).round().astype(np.uint8)[:, None]

    def picture(self) -> NDArray[np.uint8]:
        """RGB uint8 (height, width, 3)."""
        return self._smaller(self._picture)

    def mask(self) -> NDArray[np.bool_]:
        """True where the figure covers at least half of the pixel. (height, width)"""
        return self._smaller(self._mask) >= 128

    def forget_mask(self) -> None:
        """Begin the mask of another figure."""
        self._mask[:] = 0

    def _smaller(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        smaller = cv2.resize(array, (self.width_px, self.height_px), interpolation=cv2.INTER_AREA)
        return np.asarray(smaller, np.uint8)
