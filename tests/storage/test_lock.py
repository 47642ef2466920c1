"""A lock on a file: who holds it is known, it ends with its process, and what cannot be locked says so."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Timer

import filelock
import pytest

from masactrl_video.progress import Cancelled, CancelToken, stopped_by
from masactrl_video.storage.lock import is_abandoned, lock_file, lock_folder, read_note, wait_until_free

HOLD = (
    "import sys; from pathlib import Path; from masactrl_video.storage.lock import lock_file;"
    "lock = lock_file(Path(sys.argv[1]), 'works'); lock.note(state='busy'); print('held', flush=True); input()"
)


def test_another_process_is_named_and_its_note_stays_readable(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=-1, stdout=-1, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert lock_file(path, "works", wait=False) is None
    assert read_note(path) == {"state": "busy", "pid": holder.pid, "host": os.uname().nodename}
    holder.kill()
    holder.wait()
    lock = lock_file(path, "works", wait=False)
    assert lock is not None
    assert read_note(path)["state"] == "busy", "the state of a dead process's work was lost"
    assert read_note(path)["pid"] == os.getpid()
    lock.close(remove=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wait", [lock_file, wait_until_free])
def test_who_waits_for_another_can_be_cancelled(tmp_path: Path, wait: Callable[[Path, str], object]) -> None:
    path, token = tmp_path / "lock", CancelToken()
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=-1, stdout=-1, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    begun = time.monotonic()
    timer = Timer(0.3, token.cancel)
    timer.start()
    with pytest.raises(Cancelled), stopped_by(token):
        wait(path, "works")
    assert 0.2 < time.monotonic() - begun < 20
    assert read_note(path)["pid"] == holder.pid
    holder.kill()
    holder.wait()
    lock = lock_file(path, "works", wait=False)  # the one that gave up left no hold on it
    assert lock is not None
    lock.close(remove=True)


def test_any_program_that_uses_filelock_meets_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = lock_file(path, "works")
    assert lock is not None
    other = filelock.FileLock(path, timeout=0)
    with pytest.raises(filelock.Timeout):
        other.acquire()
    lock.close()
    with other:
        assert lock_file(path, "works", wait=False) is None


def test_readers_share_a_folder_and_keep_others_from_it(tmp_path: Path) -> None:
    readers = [lock_folder(tmp_path, shared=True) for _ in range(2)]
    assert None not in readers
    assert lock_folder(tmp_path, shared=False) is None
    assert not is_abandoned(tmp_path, dead=True)
    for reader in readers:
        assert reader is not None
        reader.close()
    assert is_abandoned(tmp_path, dead=True)


def test_where_there_are_no_locks_nothing_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(handle: int, *, blocking: bool) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock, "lock_descriptor", refuse)
    caplog.set_level(logging.WARNING)
    held = lock_folder(tmp_path, shared=False)
    assert held is not None
    assert not held.certain
    assert lock_file(tmp_path / "lock", "works") is not None
    assert not wait_until_free(tmp_path / "lock", "works")
    assert caplog.records == []
