"""A run of any command that writes: while it lasts the output is its own, and it leaves a log and a report."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masactrl_video.errors import StorageError, UserError
from masactrl_video.jobs.run.log_file import LOG_NAME, run_log
from masactrl_video.jobs.run.report import REPORT_NAME, Report
from masactrl_video.storage.only_writer import only_writer, run_path
from masactrl_video.storage.write_errors import storing_in


@dataclass(frozen=True)
class Place:
    """Where a run writes, and what it leaves besides."""

    output: Path
    """The file or folder that other processes wait for."""
    log: Path
    report: Path

    @classmethod
    def folder(cls, folder: Path) -> Place:
        """An output that is a folder has both in it."""
        return cls(folder, folder / LOG_NAME, folder / REPORT_NAME)

    @classmethod
    def file(cls, path: Path, log: Path | None = None) -> Place:
        """An output that is a single file, or a folder of nothing but data, has them in a hidden folder beside it.

        Args:
            log: elsewhere, where people look for it.
        """
        hidden = run_path(path)
        return cls(path, log or hidden / LOG_NAME, hidden / REPORT_NAME)


@contextmanager
def alone(
    place: Place,
    asked: Mapping[str, Any],
    check: Callable[[], object],
    *,
    report: Report | None = None,
    begin: Callable[[], object] | None = None,
    made: Sequence[str] = ("*",),
) -> Iterator[Report]:
    """Inside the context no other process writes the output; when it ends well, log and report are there.

    Args:
        asked: the resolved settings, as plain data.
        check: sees that the output may be written. It is asked at once, and again when another process, which was
            waited for, may have made it.
        report: of the run; by default a new one.
        begin: makes the run's folder: the log is written from then on. By default it is written at the end.
        made: see `removed_if_bare`.

    Raises:
        UserError: see `check`.
    """
    check()
    report, begun_seconds = report or Report(), time.perf_counter()
    with only_writer(place.output):
        check()
        with removed_if_bare(place.output, *made), run_log() as log:
            if begin is not None:
                begin()
            report.tell = log.beside(report.tell)
            with nullcontext() if begin is None else log.written(place.log, asked):
                yield report
            with storing_in(place.report.parent):
                place.report.parent.mkdir(exist_ok=True)
                if begin is None:
                    log.write(place.log, asked)
                report.seconds["total"] = round(time.perf_counter() - begun_seconds, 3)
                report.figures |= {"settings": dict(asked), "warnings": log.warnings}
                report.write(place.report)


@contextmanager
def removed_if_bare(folder: Path, *made: str, is_new: bool | None = None) -> Iterator[None]:
    """On bad input, a folder that is new and has nothing of what it is `made` for (patterns) is removed again."""
    is_new = not folder.exists() if is_new is None else is_new
    try:
        yield
    except StorageError:
        raise
    except UserError:
        if is_new and folder.is_dir() and not any(path for pattern in made for path in folder.glob(pattern)):
            shutil.rmtree(folder)
        raise
