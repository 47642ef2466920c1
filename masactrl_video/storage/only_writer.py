"""One process at a time writes an output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from masactrl_video.storage.lock import FileLock, lock_file

WRITES_THE_SAME = "writes the same output"
"""Completes "waiting for process 123 that …"."""

LOCK_WITHIN = ".lock"
"""The lock of a folder that may be written while the one it lies in may not."""


@contextmanager
def only_writer(output: Path) -> Iterator[FileLock]:
    """Wait until no other process writes a file or folder; others wait until the `with` block ends.

    What the other one has made may be there now: whoever writes looks at the output again within the block. Folders
    that were made for the lock alone are removed.

    Raises:
        OSError: nothing can be made beside the output.
    """
    path = output.absolute()
    missing = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = lock_file(lock_path(path), WRITES_THE_SAME)
    except PermissionError:
        if not path.is_dir():
            raise
        lock = lock_file(path / LOCK_WITHIN, WRITES_THE_SAME)  # a folder of ours in one that is not
    assert lock is not None
    try:
        yield lock
    finally:
        lock.close(remove=True)
        with suppress(OSError):  # something is in it
            for folder in missing:
                folder.rmdir()


def run_path(output: Path) -> Path:
    """The hidden folder with log and report of the run that made an output which cannot hold them."""
    return output.with_name(f".{output.name}.run")


def lock_path(output: Path) -> Path:
    """The file that is locked while an output is written."""
    return output.with_name(f".{output.name}.lock")
