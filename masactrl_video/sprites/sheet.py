"""The sheet: a row for each movement, a column for each frame, every cell alike; and back from a sheet to its cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from masactrl_video.sprites.cells import Cell


@dataclass(frozen=True)
class Row:
    """A movement in one facing, as a game plays it."""

    name: str
    frames: int
    rate: float
    """Frames a second."""
    lifts_px: tuple[float, ...] = ()
    """How high above the ground a game may lift each frame, in px of a cell."""

    @property
    def milliseconds(self) -> int:
        """How long a frame is shown."""
        return round(1000 / self.rate)


@dataclass(frozen=True)
class Place:
    """A cell of the sheet."""

    row: Row
    number: int
    """Of the frame in its row."""
    x: int
    y: int

    @property
    def name(self) -> str:
        """As frames are called: walk-03."""
        return f"{self.row.name}-{self.number:02d}"


@dataclass(frozen=True)
class Layout:
    """What is where on a sheet."""

    rows: tuple[Row, ...]
    cell_px: int
    anchor: tuple[float, float]
    """Where feet stand, in parts of a cell from the left and from the top."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the sheet."""
        return max(row.frames for row in self.rows) * self.cell_px, len(self.rows) * self.cell_px

    def places(self) -> Iterator[Place]:
        """Every cell that has a frame, row by row."""
        for down, row in enumerate(self.rows):
            for number in range(row.frames):
                yield Place(row, number, number * self.cell_px, down * self.cell_px)


def join(layout: Layout, cells: Sequence[Cell]) -> Cell:
    """The sheet of all cells, in the order of `Layout.places`."""
    width, height = layout.size_px
    sheet = np.zeros((height, width, 4), np.uint8)
    for place, cell in zip(layout.places(), cells, strict=True):
        sheet[place.y : place.y + layout.cell_px, place.x : place.x + layout.cell_px] = cell
    return sheet


def split(layout: Layout, sheet: Cell) -> list[Cell]:
    """The cells of a sheet, as they were joined."""
    return [sheet[place.y : place.y + layout.cell_px, place.x : place.x + layout.cell_px] for place in layout.places()]
