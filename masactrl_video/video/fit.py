"""Fitting frames of any size to a size that the model takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.settings.names import FitMode
from masactrl_video.video.target_size import choose_size


@dataclass(frozen=True)
class Fit:
    """One way of bringing frames of one size to another: scale, then cut or pad; made by `plan_fit`."""

    mode: FitMode
    source_width_px: int
    source_height_px: int
    scaled_width_px: int
    """Width of the whole frame after scaling, before cutting or padding."""
    scaled_height_px: int
    width_px: int
    height_px: int

    @property
    def left_px(self) -> int:
        """Where the scaled frame's left edge comes to lie: negative where it is cut, positive where it is padded."""
        return (self.width_px - self.scaled_width_px) // 2

    @property
    def top_px(self) -> int:
        """Where the scaled frame's upper edge comes to lie: negative where it is cut, positive where it is padded."""
        return (self.height_px - self.scaled_height_px) // 2

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(source height, source width, 3) -> (height, width, 3); what is padded is black."""
        if image.shape != (self.source_height_px, self.source_width_px, 3):
            raise ValueError(f"{image.shape = }, planned for {(self.source_height_px, self.source_width_px, 3)}")
        scaled = self._scaled(image)
        cut = scaled[max(-self.top_px, 0) :, max(-self.left_px, 0) :][: self.height_px, : self.width_px]
        top_px, left_px = max(self.top_px, 0), max(self.left_px, 0)
        result = np.zeros((self.height_px, self.width_px, 3), np.uint8)
        result[top_px : top_px + cut.shape[0], left_px : left_px + cut.shape[1]] = cut
        return result

    def apply_points(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same transform for points in pixels, shape (..., 2); the centre of the first pixel is (0, 0)."""
        scale = np.array(self._scale)
        moved: NDArray[np.float64] = (np.asarray(xy) + 0.5) * scale - 0.5 + np.array([self.left_px, self.top_px])
        return moved

    def describe(self) -> str:
        """One line that says what happens to a frame."""
        sizes = f"{self.source_width_px}x{self.source_height_px} → {self.width_px}x{self.height_px}"
        return f"{sizes}, {self.mode}: {self._scaling_text()}{self._edges_text()}"

    @property
    def _scale(self) -> tuple[float, float]:
        return self.scaled_width_px / self.source_width_px, self.scaled_height_px / self.source_height_px

    def _scaled(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        size = (self.scaled_width_px, self.scaled_height_px)
        if size == (self.source_width_px, self.source_height_px):
            return image
        import cv2  # what a clip is can be said without it

        interpolation = cv2.INTER_AREA if math.prod(self._scale) < 1 else cv2.INTER_LANCZOS4
        return np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)

    def _scaling_text(self) -> str:
        across, down = self._scale
        if across == down == 1:
            return "not scaled"
        if self.mode == "resize":
            return f"scaled by {across:.3f} across and {down:.3f} down"
        return f"scaled by {across if self.scaled_width_px == self.width_px else down:.3f}"

    def _edges_text(self) -> str:
        right_px = self.width_px - self.scaled_width_px - self.left_px
        bottom_px = self.height_px - self.scaled_height_px - self.top_px
        edges = {"left": self.left_px, "right": right_px, "above": self.top_px, "below": bottom_px}
        cuts = [f"{-px} px cut {side}" for side, px in edges.items() if px < 0]
        bars = [f"{px} px black {side}" for side, px in edges.items() if px > 0]
        return "".join(f", {text}" for text in cuts + bars)


def plan_fit(
    width_px: int,
    height_px: int,
    *,
    mode: FitMode,
    target_width_px: int | None,
    target_height_px: int | None,
    size_factor: int,
    native_area_px: int,
) -> Fit:
    """Decide how frames of width_px x height_px are brought to a size that the model takes.

    Args:
        width_px: width of the frames.
        height_px: height of the frames.
        mode: "crop" covers the target and cuts what hangs over on both sides, "pad" fits inside it and adds black bars,
            "resize" stretches.
        target_width_px: None to follow from the height and the frame's aspect ratio, or, with the height None too,
            from `native_area_px`.
        target_height_px: likewise.
        size_factor: both sides of the target are multiples of it.
        native_area_px: width times height that the model was trained at.

    Raises:
        UserError: unknown mode, or a target side that is no positive multiple of `size_factor`.
    """
    if mode not in get_args(FitMode):
        raise UserError(f"unknown fit {mode!r}; allowed are {', '.join(get_args(FitMode))}")
    target = choose_size(
        width_px / height_px, target_width_px, target_height_px, size_factor=size_factor, native_area_px=native_area_px
    )
    scaled = target if mode == "resize" else _scaled_size(mode, (width_px, height_px), target)
    return Fit(mode, width_px, height_px, *scaled, *target)


def _scaled_size(mode: FitMode, source: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """Size of the whole frame, aspect ratio kept: covering the target (crop) or inside it (pad)."""
    scales = [target[0] / source[0], target[1] / source[1]]
    scale = max(scales) if mode == "crop" else min(scales)
    limit = max if mode == "crop" else min  # a rounded side must not leave a gap, nor stick out
    width_px, height_px = (limit(round(side * scale), side_px) for side, side_px in zip(source, target, strict=True))
    return max(width_px, 1), max(height_px, 1)
