"""What the operating system refuses while a run writes its output, said with what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from masactrl_video.errors import StorageError, UserError
from masactrl_video.storage.replace import partial_of

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def check_can_be_made(*files: Path, folder: Path | None = None) -> None:
    """See that a run can make files, and a folder with everything in it; nothing stays.

    Raises:
        UserError: a name that is longer than the file system takes, or a folder where a file is to be.
        StorageError: see `check_writable`.
    """
    for path in (*files, *([folder] if folder is not None else [])):
        _check_name(path, _LONGEST_WITHIN_BYTES if path == folder else 0)
    if folder is not None and folder.is_dir():  # it need not be made, and ".", say, has no name
        folder /= _A_FILE
    for path in files:
        if path.is_dir():
            raise UserError(f"{path} is a folder; give another output")
    for path in (*files, *([folder] if folder is not None else [])):
        check_writable(path)


_A_FILE = "log.txt"
"""For a trial in a folder; every run writes one."""
_LONGEST_WITHIN_BYTES = 120
"""Of a path below a run's folder: guidance-KIND with a number of 32 digits, and in it a picture that is not whole."""
_LONGEST_PROCESS = 10**9
"""Another process that goes on with the run may have a longer number than this one."""
_NAME_BYTES, _PATH_BYTES = 255, 4096
"""Where the system does not say."""


def _check_name(path: Path, within_bytes: int) -> None:
    if not path.absolute().name:  # the root
        return
    whole = partial_of(path.absolute(), _LONGEST_PROCESS)
    place = _nearest(whole)
    try:
        names = [*whole.relative_to(place).parts[:-1], whole.name]
        sizes_bytes = [len(os.fsencode(name)) for name in names]
        path_bytes = len(os.fsencode(place)) + sum(sizes_bytes) + len(sizes_bytes) + within_bytes + 1
    except UnicodeEncodeError as error:
        raise UserError(f"{path}: this system's file names cannot have {error.object[error.start]!r}") from error
    most_bytes, most_path_bytes = _limit(place, "PC_NAME_MAX", _NAME_BYTES), _limit(place, "PC_PATH_MAX", _PATH_BYTES)
    longest = sizes_bytes.index(max(sizes_bytes))
    if sizes_bytes[longest] > most_bytes:
        name = path.name if names[longest] == whole.name else names[longest]
        more = sizes_bytes[longest] - len(os.fsencode(name))
        raise UserError(
            f"{_short(name)}: a name on this disk has at most {most_bytes} bytes (a letter has 1 to 4); this one has "
            f"{sizes_bytes[longest]}{f', with {more} that are added until it is whole' if more else ''}: give a "
            "shorter output"
        )
    if path_bytes > most_path_bytes:
        raise UserError(
            f"{_short(str(path))}: a path on this disk has at most {most_path_bytes} bytes; this one needs "
            f"{path_bytes}, with what is written there: give an output nearer to the root"
        )


def _limit(folder: Path, name: str, default: int) -> int:
    try:
        found = os.pathconf(folder, name)
    except (AttributeError, OSError, ValueError):  # Windows; a file system that does not say
        return default
    return found if found > 0 else default  # -1: it has no limit that it knows of


def _nearest(path: Path) -> Path:
    """The nearest folder, or file, above a path that is there."""
    return next(parent for parent in path.absolute().parents if os.path.lexists(parent))


def _short(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:40]}…{name[-16:]}"


def check_writable(path: Path, otherwise: str = "give another output") -> None:
    """See that something can be made at `path`: what its folder says, and a trial, of which nothing stays.

    Args:
        otherwise: what to do, besides allowing it.

    Raises:
        StorageError: the folder in which it would lie cannot be written, or is a file.
    """
    parent = _nearest(path)
    if not parent.is_dir():
        raise StorageError(f"{path}: {parent} is a file, not a folder; {otherwise}")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise StorageError(f"{path}: the folder {parent} may not be written; allow it, or {otherwise}")
    trial = parent / partial_of(path).name
    try:
        trial.touch()
        trial.unlink(missing_ok=True)
    except OSError as error:  # a disk that is mounted for reading, a letter that its names cannot have, …
        raise StorageError(
            f"{path}: the folder {parent} cannot be written ({error.strerror}); mend that, or {otherwise}"
        ) from error


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
