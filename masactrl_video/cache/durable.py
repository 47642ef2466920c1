"""Writes that are on the disk when they return, and whose failure says what to do."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from masactrl_video.errors import StorageError

ELSEWHERE = "take a folder elsewhere: --cache-dir, or MASACTRL_VIDEO_CACHE"


@contextmanager
def writing_in(root: Path) -> Iterator[None]:
    """Turn what the operating system refuses (no permission, disk full, …) into a StorageError."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write the cache in {root}: {error.strerror}; mend that (`masactrl-video cache prune` makes room), "
            f"or {ELSEWHERE}; the same command then goes on"
        ) from error


def write_through(path: Path, data: bytes) -> None:
    """Write a new file and wait until it is on the disk."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
