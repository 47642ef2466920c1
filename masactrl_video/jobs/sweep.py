"""An ablation in one look: a labelled grid of a target over two settings, S and L say (MasaCtrl, Fig. 12)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from masactrl_video.jobs.grid import cell_settings, parse_grid
from masactrl_video.jobs.run.report import Tell
from masactrl_video.jobs.run.still_folder import SHEET
from masactrl_video.jobs.shared_source import record_sources
from masactrl_video.jobs.stills import (
    check_target,
    one_target,
    plan_target,
    render_target,
    stills_run,
    write_source,
)
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.page.sheet import Panel, labelled_sheet
from masactrl_video.settings.stills import StillSettings
from masactrl_video.video.png import read_png, write_png


@dataclass(frozen=True)
class Cell:
    """One place of the grid."""

    row: int
    column: int
    values: dict[str, str]
    """Swept setting → its value here, as it was given."""
    settings: StillSettings
    """All settings of this picture."""
    path: Path
    source_path: Path
    """Its source's picture; the same for all cells where no swept setting changes the source."""

    @property
    def picture(self) -> NDArray[np.uint8]:
        """RGB (height, width, 3)."""
        return read_png(self.path)

    @property
    def source_picture(self) -> NDArray[np.uint8]:
        """RGB (height, width, 3)."""
        return read_png(self.source_path)


def sweep(
    settings: StillSettings,
    folder: Path,
    *,
    overwrite: bool = False,
    model: DiffusionModel | None = None,
    tell: Tell = lambda event: None,
    measure: Callable[[list[Cell]], None] = lambda cells: None,
) -> list[Cell]:
    """Make a target at every place of a grid of settings, and the labelled grid, in `folder`.

    All cells with the same source share one recording of it, from their lowest step and layer on.

    Args:
        settings: of one target, with `rows`, `columns` or both.
        folder: for the pictures; an interrupted run goes on.
        overwrite: replace what is there and begin anew.
        model: one that is loaded already.
        tell: called with what happens while it happens (see `report.Tell`).
        measure: called with all cells before the sheet is written, which makes the folder complete.

    Returns:
        The cells, row by row, with their pictures and settings.

    Raises:
        UserError: anything in the settings or the folder cannot be used; nothing is half-written.
    """
    cells = _cells(settings, folder)
    targets = [cell.settings for cell in cells]
    with stills_run(
        "sweep", settings, folder, targets, check_target, overwrite=overwrite, model=model, tell=tell
    ) as run:
        model, canvas = run.model, run.canvas
        sources = record_sources(targets, model, canvas)
        several = len({source.group for source in sources}) > 1
        done: list[Cell] = []
        for cell, source in zip(cells, sources, strict=True):
            source_path = folder / (f"source-{source.group + 1}.png" if several else "source.png")
            if source_path not in {other.source_path for other in done}:
                write_source(cell.settings, model, source.recorded, source_path)
            render_target(plan_target(cell.settings, model, canvas, source.planned, source.recorded), cell.path)
            done.append(Cell(cell.row, cell.column, cell.values, cell.settings, cell.path, source_path))
            run.report.picture(len(done), len(cells))
        measure(done)
        _write_sheet(settings, done, folder / SHEET)
    return done


def _cells(settings: StillSettings, folder: Path) -> list[Cell]:
    target = one_target(settings, "sweep")
    rows, columns = parse_grid(settings)
    cells = []
    for row, row_value in enumerate(rows.values):
        for column, column_value in enumerate(columns.values):
            values = {axis.name: value for axis, value in ((rows, row_value), (columns, column_value)) if axis.name}
            path = folder / f"target-row{row + 1}-column{column + 1}.png"
            cells.append(Cell(row, column, values, cell_settings(target, values), path, folder / "source.png"))
    return cells


def _write_sheet(settings: StillSettings, cells: list[Cell], path: Path) -> None:
    """The grid, with the source before its first row where all cells share it."""
    rows, columns = parse_grid(settings)
    table: list[list[Panel]] = [[] for _ in rows.values]
    shared = len({cell.source_path for cell in cells}) == 1
    if shared:
        table[0].append(Panel("source", cells[0].source_picture))
        for row in table[1:]:
            row.append(Panel())
    labels = columns.labels() if columns.name else [""]
    for cell in cells:
        table[cell.row].append(Panel(labels[cell.column] if cell.row == 0 else "", cell.picture))
    write_png(path, labelled_sheet(table, rows.labels() if rows.name else [], cells[0].settings.prompt))
