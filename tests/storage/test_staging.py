"""A folder appears whole or not at all, replaces another or leaves it, and what dead processes left goes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from masactrl_video.errors import UserError
from masactrl_video.storage.staging import is_staging, remove_whole, staged_folder, staging_path


def write(folder: Path, text: str, *when_there: str) -> None:
    with staged_folder(folder, *when_there) as staging:  # type: ignore[arg-type]
        (staging / "file").write_text(text)


def test_it_appears_whole_and_an_exception_leaves_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    write(folder, "first")
    with pytest.raises(ZeroDivisionError), staged_folder(folder, "replace") as staging:
        (staging / "file").write_text("second")
        assert (folder / "file").read_text() == "first"
        raise ZeroDivisionError
    assert (folder / "file").read_text() == "first"
    assert list(folder.parent.iterdir()) == [folder]


def test_one_that_is_there_is_refused_replaced_or_kept(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    write(folder, "first")
    with pytest.raises(UserError, match="made meanwhile"):
        write(folder, "second")
    write(folder, "third", "keep")
    assert (folder / "file").read_text() == "first"
    write(folder, "fourth", "replace")
    assert (folder / "file").read_text() == "fourth"
    assert list(tmp_path.iterdir()) == [folder]


def test_the_old_one_comes_back_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    write(folder, "first")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if target == folder and (self / "file").read_text() == "second":
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError):
        write(folder, "second", "replace")
    assert (folder / "file").read_text() == "first"
    assert list(tmp_path.iterdir()) == [folder]


def test_what_a_dead_process_left_for_the_same_folder_goes(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in ("folder", "other"):
        mine = staging_path(tmp_path / name)
        left = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{dead.pid}-"))
        left.mkdir()
        assert is_staging(left.name)
    write(tmp_path / "folder", "text")
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".folder")] == []
    assert left.is_dir(), "another folder's is not looked at"


def test_a_link_is_removed_and_not_what_it_points_to(tmp_path: Path) -> None:
    write(tmp_path / "folder", "text")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    remove_whole(tmp_path / "link")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]
    remove_whole(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []
