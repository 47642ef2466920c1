"""Input that cannot be used: one line, exit status 2, and nothing left behind."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.bad_files import add_pipe, make_folder
from cli.bad_input_page import PAGE, row
from cli.bad_inputs import CASES, TABLES, complete, typed


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Path:
    """Everything that the cases name."""
    folder = tmp_path_factory.mktemp("files")
    make_folder(folder, clip)
    return folder


@pytest.fixture
def folder(tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with everything that the cases name."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    add_pipe(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def everything(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize(("table", "case"), CASES)
def test_it_is_refused_in_one_line(run: Callable[..., Any], folder: Path, table: str, case: str) -> None:
    before = everything(folder)
    ran = run(*complete(table, case))
    assert (ran.status, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 1
    assert ran.err.startswith("masactrl-video: ")
    assert TABLES[table][case][1] in ran.err
    assert everything(folder) == before
    assert row(case, typed(table, case), ran.err, folder) in PAGE.read_text(), "write docs/bad-input.md anew"


def test_the_page_names_no_case_that_is_gone() -> None:
    table = PAGE.read_text().partition("<!-- answers: begin -->")[2].partition("<!-- answers: end -->")[0]
    assert table.count("\n| ") == 2 + len(CASES)


def test_a_process_of_its_own_ends_in_one_line(folder: Path) -> None:
    arguments = ["render", "clip.mp4", "-o", "out.mp4", "--model", "org/none", "--guidance"]
    before = everything(folder)
    done = subprocess.run([sys.executable, "-m", "masactrl_video.cli.main", *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "neither a local folder nor among the downloads" in done.stderr
    assert everything(folder) == before
