"""Writes that are on the disk when they return, and whose failure says what to do."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from masactrl_video.errors import UserError

ELSEWHERE = "set MASACTRL_VIDEO_CACHE to a folder elsewhere"


@contextmanager
def writing_in(root: Path) -> Iterator[None]:
    """Turn what the operating system refuses (no permission, disk full, …) into a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write the cache in {root}: {error.strerror}; mend that, or {ELSEWHERE}") from error


def write_through(path: Path, data: bytes) -> None:
    """Write a new file and wait until it is on the disk."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until a folder's list of names is on the disk."""
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
