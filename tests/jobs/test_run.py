"""What every command that writes leaves: a log and a report, and for a single file in a hidden folder beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import masactrl_video
from masactrl_video.cli.main import main
from masactrl_video.errors import StorageError, UserError
from masactrl_video.jobs.run.run import Place, alone
from masactrl_video.model.versions import versions
from masactrl_video.storage.write_errors import storing_in


def nothing() -> None:
    """All is well."""


@pytest.mark.parametrize("output", ["out.json", "out"])
def test_poses_have_a_log_and_a_report_that_are_not_in_the_way(output: str, tmp_path: Path) -> None:
    assert main(["pose", "tween", "standing", "waving", "--every", "2", "-o", str(tmp_path / output)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {output, f".{output}.run"}
    place = Place.file(tmp_path / output)
    report = json.loads(place.report.read_text())
    assert report["settings"]["poses"] == ["standing", "waving"]
    assert report["settings"]["every"] == 2
    assert report["versions"]["masactrl-video"] == masactrl_video.__version__
    assert report["warnings"] == []
    assert report["seconds"]["total"] > 0
    assert place.log.read_text().splitlines()[-1].startswith("--- done after ")


def test_a_refused_run_leaves_no_report(tmp_path: Path) -> None:
    assert main(["pose", "tween", "standing", "nobody", "-o", str(tmp_path / "out.json")]) == 2
    assert list(tmp_path.iterdir()) == []


def test_the_versions_are_those_that_compute() -> None:
    import diffusers
    import torch
    import transformers

    found = versions()
    for library in (torch, diffusers, transformers):
        assert found[library.__name__] == library.__version__


@pytest.mark.parametrize(
    ("error", "made", "stays"),
    [(UserError, "", False), (UserError, "1.png", True), (StorageError, "", True), (KeyboardInterrupt, "", True)],
)
def test_a_new_folder_goes_only_where_bad_input_left_it_without_a_picture(
    error: type[BaseException], made: str, stays: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "out"

    def run(begin: Callable[[], None]) -> None:
        with (
            storing_in(folder),
            alone(Place.folder(folder), {"a": 1}, nothing, begin=begin, made=["*.png"]),
        ):
            if made:
                (folder / made).touch()
            raise error("why")

    with pytest.raises(error):
        run(folder.mkdir)
    assert folder.is_dir() == stays
    assert not (folder / "report.json").exists()
    if stays:
        assert "--- stopped: why" in (folder / "log.txt").read_text()
