"""A clip frame by frame, beside what it is compared with; nothing is held but the frame that is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from masactrl_video.measure.figure import Figure
from masactrl_video.poses.pose import Pose

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Moment:
    """A frame of a clip and what belongs to it, all of one size."""

    frame: int
    """Position in the clip, from 0."""
    pixels: Picture
    """RGB (height, width, 3)."""
    original: Picture | None = None
    """The input clip at this time; None where it has none, or where it shows the same frame still."""
    mask: Mask | None = None
    """(height, width): the character, which may be changed."""
    wanted: Pose | None = None
    """The pose that is to be followed."""
    found: Pose | None = None
    """The pose that is seen in `pixels`."""


class Meter(Protocol):
    """Measures while the frames go by; holds two of them at most."""

    def add(self, moment: Moment) -> None:
        """Look at the next frame."""

    def figures(self) -> Iterator[Figure]:
        """What was measured, after the last frame."""


def enlarged(cells: NDArray[Value], height_px: int, width_px: int) -> NDArray[Value]:
    """A map (rows, columns, …) at the size of a picture, each cell a block."""
    rows, columns = (
        np.arange(side) * count // side for side, count in zip((height_px, width_px), cells.shape[:2], strict=True)
    )
    found: NDArray[Value] = cells[rows][:, columns]
    return found
