"""What is locked while an output is written, and that nothing stays of the lock."""

from __future__ import annotations

from pathlib import Path

import pytest

from masactrl_video.storage import only_writer as module
from masactrl_video.storage.lock import FileLock, lock_file
from masactrl_video.storage.only_writer import lock_path, only_writer


def test_the_lock_lies_beside_the_output_and_goes_with_the_folders_made_for_it(tmp_path: Path) -> None:
    output = tmp_path / "new" / "folder" / "out.png"
    with only_writer(output):
        assert lock_file(lock_path(output), "", wait=False) is None
        assert list(output.parent.iterdir()) == [output.with_name(".out.png.lock")]
    assert list(tmp_path.iterdir()) == []
    with only_writer(output):
        output.write_bytes(b"made")
    assert list(output.parent.iterdir()) == [output]


def test_an_exception_ends_the_lock(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), only_writer(tmp_path / "out"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_ours_in_one_that_may_not_be_written_is_locked_within(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()

    def refuse_beside(path: Path, what: str) -> FileLock | None:
        if path.parent == tmp_path:
            raise PermissionError(13, "Permission denied")
        return lock_file(path, what)

    monkeypatch.setattr(module, "lock_file", refuse_beside)
    with only_writer(folder):
        assert [path.name for path in folder.iterdir()] == [".lock"]
    with pytest.raises(PermissionError), only_writer(tmp_path / "out.png"):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["out"]
