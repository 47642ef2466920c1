"""Pictures next to each other, each with its name above."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_LABEL_HEIGHT_PX = 28
_GAP_PX = 4
_MARGIN_PX = 6
_FONT_SCALE = 0.5


def side_by_side(images: Sequence[tuple[str, NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """One row of (label, RGB picture), all as high as the highest, with black around.

    Width and height are even, as yuv420p needs. Labels are drawn in ASCII (other characters show as "?");
    one that is wider than its picture is cut off.
    """
    if not images:
        raise ValueError("side_by_side needs at least one picture")
    height_px = max(image.shape[0] for _, image in images)
    panels = [_panel(label, image, height_px) for label, image in images]
    gap = np.zeros((panels[0].shape[0], _GAP_PX, 3), np.uint8)
    row = np.hstack([part for panel in panels for part in (gap, panel)][1:])
    return np.pad(row, [(0, row.shape[0] % 2), (0, row.shape[1] % 2), (0, 0)])


def _panel(label: str, image: NDArray[np.uint8], height_px: int) -> NDArray[np.uint8]:
    import cv2  # whether a run can begin is known without it

    scale = height_px / image.shape[0]
    size = (max(1, round(image.shape[1] * scale)), height_px)
    scaled = image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_LANCZOS4)
    caption = np.zeros((_LABEL_HEIGHT_PX, size[0], 3), np.uint8)
    origin = (_MARGIN_PX, _LABEL_HEIGHT_PX - 9)
    text = label.encode("ascii", "replace").decode()
    cv2.putText(caption, text, origin, cv2.FONT_HERSHEY_SIMPLEX, _FONT_SCALE, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack([caption, np.asarray(scaled, np.uint8)])
