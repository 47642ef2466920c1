"""What the operating system refuses while a run writes its output, said with what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from masactrl_video.errors import StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def check_writable(path: Path) -> None:
    """See that something can be made at `path`, as far as that can be told without writing.

    Raises:
        StorageError: the folder in which it would lie may not be written, or is a file.
    """
    parent = next(parent for parent in path.absolute().parents if parent.exists())
    if not parent.is_dir():
        raise StorageError(f"{path}: {parent} is a file, not a folder; give another output")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise StorageError(f"{path}: the folder {parent} may not be written; allow it, or give another output")


@contextmanager
def storing_in(folder: Path) -> Iterator[None]:
    """Turn errors of writing into a StorageError; errors of reading something else pass.

    Args:
        folder: where the run writes; what is finished there stays.
    """
    is_new = not folder.exists()
    try:
        yield
    except OSError as error:
        if not is_new and not folder.exists():
            raise StorageError(f"{folder} was removed during the run; the same command begins it anew") from error
        what = _what_to_do(error, folder)
        if what is None:
            raise
        place = error.filename or folder
        raise StorageError(f"{place}: cannot be written ({error.strerror or error}); {what}") from error


def _what_to_do(error: OSError, folder: Path) -> str | None:
    if error.errno in _FULL:
        return "finished frames are kept: make room, and the same command goes on where it was"
    if error.errno in _REFUSED:
        return "finished frames are kept: allow it, and the same command goes on where it was; or give another output"
    ours = error.filename is not None and folder.parent.absolute() in Path(str(error.filename)).absolute().parents
    return "finished frames are kept, and the same command goes on where it was" if ours else None
