"""An ablation in one look: a labelled grid of a target over two settings, S and L say (MasaCtrl, Fig. 12)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.engines.choose import each_of
from masactrl_video.engines.work import Each, check_weights, own_device, recorded_at
from masactrl_video.jobs.grid import cell_settings, parse_grid
from masactrl_video.jobs.run.report import Tell
from masactrl_video.jobs.run.still_folder import SHEET, check_still_folder
from masactrl_video.jobs.shared_source import SharedSource, record_sources
from masactrl_video.jobs.stills import (
    Guidance,
    StillCanvas,
    StillRun,
    StillTarget,
    check_target,
    join_target,
    one_target,
    render_target,
    stills_run,
    target_guidance,
    target_skeletons,
    with_weights,
    write_source,
)
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.from_settings import model_from_settings
from masactrl_video.page.sheet import Panel, labelled_sheet
from masactrl_video.poses.warp import Skeletons
from masactrl_video.render.kept import check_kept
from masactrl_video.settings.stills import StillSettings
from masactrl_video.sources.control import plan_attention
from masactrl_video.storage.replace import replacing
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
    check_still_folder(folder, settings, overwrite)
    with (
        each_of(settings) as each,
        stills_run(
            "sweep", settings, folder, targets, check_target, overwrite=overwrite, model=model, tell=tell
        ) as run,
    ):
        cells = _make(cells, run, each, folder)
        measure(cells)
        _write_sheet(settings, cells, folder / SHEET)
    return cells


def _make(cells: Sequence[Cell], run: StillRun, each: Each, folder: Path) -> list[Cell]:
    """The pictures of all sources and cells; returns the cells with their sources' pictures."""
    targets, model = [cell.settings for cell in cells], run.model
    sources = record_sources(targets, model, run.canvas)
    paths = _source_paths(sources, folder)
    for path in dict.fromkeys(paths):
        first = paths.index(path)
        write_source(targets[first], model, sources[first].recorded, path)
    recorded = list({source.group: source.recorded for source in sources}.values())
    work = _Cells(
        targets,
        run.canvas.size_px,
        _guidance(targets, model, run.canvas),
        [target_skeletons(target, run.canvas) for target in targets],
        [source.entry.folder for source in recorded],
        [source.group for source in sources],
        each.weights(model),
    )
    planned = partial(_planned, work, recorded, model)
    todo = [number for number, cell in enumerate(cells) if not _is_made(cell.path, partial(planned, number))]
    made = each(work, todo, lambda number: _picture(planned(number)))
    for done, (number, png) in enumerate(made, len(cells) - len(todo) + 1):
        with replacing(cells[number].path) as partial_path:
            partial_path.write_bytes(png)
        run.report.picture(done, len(cells))
    run.report.figures |= each.figures()
    return [replace(cell, source_path=path) for cell, path in zip(cells, paths, strict=True)]


@dataclass(frozen=True)
class _Cells:
    """The cells of a grid, as a `Work`: a number gives a cell's picture as PNG."""

    targets: Sequence[StillSettings]
    size_px: tuple[int, int]
    pictures: Sequence[Guidance]
    skeletons: Sequence[Skeletons | None]
    sources: Sequence[Path]
    groups: Sequence[int]
    """Which of the sources each cell has."""
    weights: Mapping[str, str]
    """Of the owner's model."""

    def open(self, sources: Sequence[Path]) -> Callable[[int], bytes]:
        """Load the model; what makes a cell's picture."""
        first = self.targets[0]
        model = model_from_settings(first.model_copy(update={"device": own_device(first.device)}))
        check_weights(model, self.weights)
        recorded = [recorded_at(path, model, exact=first.cache_dtype == "exact") for path in sources]
        return lambda number: _picture(_planned(self, recorded, model, number))


def _planned(cells: _Cells, sources: Sequence[CachedSource], model: DiffusionModel, number: int) -> StillTarget:
    target = cells.targets[number]
    canvas, source = StillCanvas(cells.size_px), sources[cells.groups[number]]
    control = plan_attention(target, with_weights(target, model), cells.size_px)
    given = (cells.pictures[number], control, source, cells.skeletons[number])
    return join_target(target, model, canvas, *given)


def _picture(target: StillTarget) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "target.png"
        render_target(target, path)
        return path.read_bytes()


def _is_made(path: Path, planned: Callable[[], StillTarget]) -> bool:
    """Whether an interrupted run has made it."""
    if path.exists():
        check_kept([path], planned().text["made-from"])
    return path.exists()


def _source_paths(sources: Sequence[SharedSource], folder: Path) -> list[Path]:
    """Of each cell, where its source's picture goes."""
    several = len({source.group for source in sources}) > 1
    return [folder / (f"source-{source.group + 1}.png" if several else "source.png") for source in sources]


def _guidance(targets: Sequence[StillSettings], model: DiffusionModel, canvas: StillCanvas) -> list[Guidance]:
    """Of each cell; equal pictures are one, so that they travel once."""
    seen: dict[bytes, NDArray[np.uint8]] = {}
    all_pictures = [target_guidance(target, model, canvas) for target in targets]
    return [[[seen.setdefault(one.tobytes(), one) for one in of] for of in pictures] for pictures in all_pictures]


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
