"""Any clip measured: figures, a page, data, and several results beside each other."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from masactrl_video.errors import UserError
from masactrl_video.jobs.measure.runs import is_made_here, results_of_run
from masactrl_video.measure.comparing import Row, compare_measured
from masactrl_video.measure.figure import Measured
from masactrl_video.measure.opened import Given, Opened
from masactrl_video.measure.opening import open_given
from masactrl_video.measure.options import MeasureOptions
from masactrl_video.measure.report.data import MADE_BY, as_data, figures_csv, frames_csv
from masactrl_video.progress import counting
from masactrl_video.settings.names import FitMode
from masactrl_video.storage.only_writer import only_writer
from masactrl_video.storage.staging import staged_folder
from masactrl_video.storage.text import encodable
from masactrl_video.storage.write_errors import check_can_be_made
from masactrl_video.video.local_file import local_path

logger = logging.getLogger(__name__)

PAGE, DATA, FIGURES, FRAMES = "report.html", "report.json", "figures.csv", "frames.csv"
"""What a report's folder holds."""


@dataclass(frozen=True)
class Comparison:
    """Several clips, measured in the same way."""

    measured: tuple[Measured, ...]
    rows: tuple[Row, ...]


def measure_clip(
    result: Path,
    *,
    input: Path | None = None,
    source: Path | None = None,
    source_mask: Path | None = None,
    poses: Path | None = None,
    result_poses: Path | None = None,
    masks: Path | None = None,
    fit: FitMode | None = None,
    options: MeasureOptions | None = None,
) -> Measured:
    """Measure a clip; nothing is written, and memory does not grow with its length.

    Args:
        result: a video, a folder of images, a picture, or the folder of a run of this package, which brings the rest.
        input: the clip that it was made from, matched by time; or a picture, where the result is pictures.
        source: a picture of the character.
        source_mask: white where the character is in `source`.
        poses: pose JSON that the result is to follow.
        result_poses: pose JSON of what it shows, where no detector is to find it.
        masks: video, folder or picture, white where the character is and what may be changed.
        fit: how the input's frames are brought to the result's size: crop (the default), pad or resize.
        options: pose detector, networks, and more.

    Raises:
        UserError: something cannot be read or does not fit the rest, or `result` holds several results.
    """
    given = _given(
        result,
        {
            "original": input,
            "source": source,
            "source_mask": source_mask,
            "poses": poses,
            "result_poses": result_poses,
            "masks": masks,
            "fit": fit,
        },
    )
    if len(given) > 1:
        raise UserError(f"{result} holds {len(given)} results; compare_clips measures them beside each other")
    return compare_given(given, options or MeasureOptions()).measured[0]


def measure_report(
    result: Path,
    output: Path,
    *,
    against: Sequence[Path] = (),
    changes: dict[str, Path | str | None] | None = None,
    options: MeasureOptions | None = None,
    overwrite: bool = False,
) -> Comparison:
    """Measure a clip, and others beside it, and write a folder with a page, JSON and CSV.

    Args:
        result: see `measure_clip`; a run with several results has them beside each other.
        output: the folder.
        against: other results; what they are compared with is that of `result`.
        changes: fields of `Given` that the user gives, before what a run's folder brings.
        options: see `measure_clip`.
        overwrite: replace a report that is there.

    Raises:
        UserError: see `measure_clip`; the folder exists, or holds something else than a report.
    """
    given = _named([*_given(result, changes or {}), *_against(result, against, changes or {})])
    _check_output(output, given, overwrite)
    with only_writer(output):
        _check_output(output, given, overwrite)  # another process may have made it meanwhile
        return compare_given(given, options or MeasureOptions(), then=lambda *found: _write(output, overwrite, *found))


Then = Callable[[Sequence[Opened], Comparison], None]


def compare_given(given: Sequence[Given], options: MeasureOptions, then: Then | None = None) -> Comparison:
    """Open everything, measure clip by clip, and compare.

    Args:
        then: called with what was opened and measured.
    """
    opened = [open_given(one, shortest=options.shortest) for one in given]  # whatever is wrong is said before the work
    for one in opened:
        for remark in one.remarks:
            logger.info("%s: %s", one.given.name, remark)
    from masactrl_video.jobs.measure.means import means_of
    from masactrl_video.measure.clip import measure_opened

    means = means_of(given[0], options)
    measured = tuple(measure_opened(one, means()) for one in opened)
    compared = Comparison(measured, tuple(compare_measured(measured)))
    if then is not None:
        then(opened, compared)
    return compared


def _given(result: Path, changes: dict[str, Path | str | None]) -> list[Given]:
    path = local_path(result)
    for name in ("original", "source", "source_mask", "poses", "result_poses", "masks"):
        if (named := changes.get(name)) is not None:
            local_path(Path(named))
    found = results_of_run(path) if is_made_here(path) else [Given(result)]
    own = {name: value for name, value in changes.items() if value is not None}
    return [replace(one, **own) for one in found]  # type: ignore[arg-type]


def _against(result: Path, others: Sequence[Path], changes: dict[str, Path | str | None]) -> Iterator[Given]:
    """Other results, compared with the same."""
    first = _given(result, changes)[0]
    for other in others:
        for one in _given(other, {}):
            yield replace(first, result=one.result, pictures=one.pictures, label=one.label, result_poses=None)


def _named(given: Sequence[Given]) -> list[Given]:
    """Each by a name of its own: as short as it can be."""
    names = [one.label or one.result.stem for one in given]
    unlike = len(set(names)) == len(names)
    longer = [
        name if unlike or names.count(name) == 1 else str(one.result) for name, one in zip(names, given, strict=True)
    ]
    if len(set(longer)) < len(longer):
        twice = next(name for name in longer if longer.count(name) > 1)
        raise UserError(f"{twice} is given twice; name each result once")
    return [replace(one, label=name) for one, name in zip(given, longer, strict=True)]


def _check_output(folder: Path, given: Sequence[Given], overwrite: bool) -> None:
    check_can_be_made(folder=folder)
    place = folder.resolve()
    for one in given:
        for path in (one.result, *one.pictures, one.original, one.source, one.source_mask, one.poses, one.masks):
            if path is not None and (place == path.resolve() or place in path.resolve().parents):
                raise UserError(f"{path} is read, and would be overwritten; give another output")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    data = folder / DATA
    if not data.is_file() or MADE_BY.encode() not in data.read_bytes()[:100]:
        raise UserError(f"{folder} exists and was not made by this command; give another output")
    if not overwrite:
        raise UserError(f"{folder} exists; give another output, or --overwrite to replace the report")


def _write(folder: Path, overwrite: bool, opened: Sequence[Opened], compared: Comparison) -> None:
    from masactrl_video.measure.report.page import report_page, small, wanted_pictures

    pictures = {}
    for at, (one, measured) in enumerate(zip(opened, compared.measured, strict=True)):
        wanted = wanted_pictures(measured, len(opened))
        moments = one.moments() if wanted else iter(())
        for moment in counting(moments, "worst frames", "frame", total=len(one.clip), passing=True):
            if moment.frame in wanted:
                beside = None if moment.original is None else small(moment.original)
                pictures[at, moment.frame] = (small(moment.pixels), beside)
            if moment.frame >= max(wanted):
                break
    data = as_data(compared.measured, compared.rows)
    files = {
        PAGE: report_page(compared.measured, compared.rows, pictures),
        DATA: json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        FIGURES: figures_csv(compared.measured, compared.rows),
        FRAMES: frames_csv(compared.measured),
    }
    with staged_folder(folder, "replace" if overwrite else "refuse") as made:
        for name, text in files.items():
            (made / name).write_text(encodable(text), encoding="utf-8")
