"""The folder of a run that makes still pictures: new, or that of an interrupted run with the same settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from masactrl_video.errors import UserError
from masactrl_video.jobs.run.folder import begin_folder, check_folder
from masactrl_video.jobs.run.inputs import check_inputs, check_models
from masactrl_video.jobs.run.report import REPORT_NAME, Report
from masactrl_video.jobs.run.run import Place, alone
from masactrl_video.settings.stills import StillSettings
from masactrl_video.sources.cache_limit import say_cache_size
from masactrl_video.storage.write_errors import storing_in

SHEET = "sheet.png"
"""Written last: a folder that has it is complete."""

FIGURES = "figures.csv"
"""What a sweep measured, where the right answer is known."""

_MADE = ("source*.png", "target-*.png", FIGURES, SHEET, REPORT_NAME)


def check_still_folder(folder: Path, settings: StillSettings, overwrite: bool) -> None:
    """See that a run may write there, before anything slow begins; nothing stays of what is tried.

    Raises:
        UserError: it holds a complete run, or something else.
    """
    if (folder / SHEET).exists() and not overwrite:
        raise UserError(f"{folder / SHEET} exists; give another output, or --overwrite to begin anew")
    check_folder(folder, settings, overwrite)


def check_files(folder: Path, settings: StillSettings, overwrite: bool) -> None:
    """See that all files that the settings name are there, and that the folder is free, before any library is loaded.

    Raises:
        UserError: see `check_still_folder`, `check_inputs` and `check_models`.
    """
    check_still_folder(folder, settings, overwrite)
    check_inputs(settings, folder)
    check_models(settings)


@contextmanager
def claimed_folder(
    folder: Path, command: str, settings: StillSettings, overwrite: bool, report: Report
) -> Iterator[None]:
    """Make the folder ours, for the stage `pictures`; one that is new and would stay without one is removed again.

    Args:
        command: by which the written configuration makes the same pictures.
        report: of the run; it is told to the log from now on.

    Raises:
        UserError: see `check_still_folder`.
    """
    header = (
        f"# Resolved settings; `masactrl-video {command} --config THIS_FILE -o OTHER_FOLDER` makes the same pictures.\n"
        "# Paths are as they were given: run it from the same folder.\n"
    )
    asked = settings.as_yaml_data()

    def begin() -> None:
        if overwrite:
            for pattern in _MADE:
                for path in folder.glob(pattern):
                    path.unlink()
        begin_folder(folder, header, settings)

    def check() -> None:
        check_still_folder(folder, settings, overwrite)

    with (
        storing_in(folder),
        alone(Place.folder(folder), asked, check, report=report, begin=begin, made=["*.png"]),
    ):
        with report.stage("pictures"):
            yield
        say_cache_size(settings)
