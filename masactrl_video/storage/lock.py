"""Locks between processes, and a note in each that says who holds it.

`filelock` asks the operating system to lock an open file: the lock ends with the process that holds it, however that
ends, so that there are no stale ones. Where a file system has no locks nothing is locked, and `certain` says so.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import platform
import sys
import time
import weakref
from pathlib import Path
from typing import Any, Literal

from masactrl_video.progress import check_cancelled

logger = logging.getLogger(__name__)

ABANDONED_SECONDS = 60
"""A folder is locked right after it was made; one that is not, and is older than this, belongs to nobody."""

SILENT_SECONDS = 24 * 3600
"""Where there are no locks: whoever added nothing to a folder for so long is taken for dead."""

_LOOK_AGAIN_SECONDS = 0.05
"""While another process has a lock. A wait inside the operating system could not be cancelled."""

# EBADF: NFS wants a file that is open for writing, which a folder never is.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL}
_NOTE_BYTES = 512  # always as many, so that a note is replaced by one write, without being cut first


class FolderLock:
    """A lock on a folder, held until it is closed or forgotten, or the process ends."""

    def __init__(self, handle: int, certain: bool) -> None:
        self.certain = certain
        """False where the file system has no locks."""
        self.close = weakref.finalize(self, os.close, handle)


def lock_folder(folder: Path, *, shared: bool) -> FolderLock | None:
    """Lock a folder for reading (`shared`) or for oneself; None when another process has it. Never waits.

    Raises:
        OSError: there is no such folder, or it may not be read.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        held = _lock(handle, shared=shared)
    except BaseException:
        os.close(handle)
        raise
    if held is False:
        os.close(handle)
        return None
    return FolderLock(handle, held is not None)


def is_abandoned(folder: Path, *, dead: bool = False) -> bool:
    """Whether nobody works any more in a folder that is locked while somebody does.

    Args:
        dead: whether the process that made it is known to have ended.
    """
    try:
        lock = lock_folder(folder, shared=False)
        if lock is None:
            return False
        lock.close()
        limit_seconds = ABANDONED_SECONDS if lock.certain else SILENT_SECONDS
        return dead or time.time() - folder.lstat().st_mtime > limit_seconds
    except OSError:  # it has gone meanwhile, or is another user's
        return False


class FileLock:
    """A lock on a file made for it, with a note in it: who holds it, and what state the work is in."""

    def __init__(self, path: Path, handle: int, waited: bool) -> None:
        self.path = path
        self.waited = waited
        """Whether another process had it before."""
        self._close = weakref.finalize(self, os.close, handle)
        self._handle = handle
        self._note = read_note(path)

    def note(self, **facts: str) -> None:
        """Add facts to the note, on the disk when this returns."""
        self._note |= facts
        data = json.dumps(self._note | {"pid": os.getpid(), "host": platform.node()}).encode()
        os.lseek(self._handle, 0, os.SEEK_SET)
        os.write(self._handle, data.ljust(_NOTE_BYTES))
        os.fsync(self._handle)

    def close(self, *, remove: bool = False) -> None:
        """Give the lock back; with `remove` its file goes too."""
        if remove and self._close.alive:
            self.path.unlink(missing_ok=True)  # before the lock ends: who waits for it sees that the file is gone
        self._close()


def lock_file(path: Path, what: str, *, wait: bool = True, create: bool = True) -> FileLock | None:
    """Lock the file at `path`, which nobody uses otherwise.

    Args:
        what: completes "waiting for process 123 that …", which is said when another process has it.
        wait: until that one ends; None otherwise.
        create: make the file; None otherwise, when there is none.

    Raises:
        OSError: the file cannot be made or opened.
        Cancelled: somebody has stopped the run that waits.
    """
    waited = False
    while True:
        handle = _open(path, create)
        if handle is None:
            return None
        try:
            taken = _take(handle, path, what, wait)
            is_there = _is_at(handle, path)  # else the one before removed the file when done
        except BaseException:
            os.close(handle)
            raise
        waited |= taken == "waited"
        if taken != "refused" and is_there:
            return _noted(FileLock(path, handle, waited))
        os.close(handle)
        if taken == "refused":
            return None


def wait_until_free(path: Path, what: str) -> bool:
    """Wait while another process holds the lock at `path`; returns whether one did. Makes no file, and holds nothing.

    Args:
        what: see `lock_file`.
    """
    handle = _open(path, create=False)
    if handle is None:
        return False
    try:
        return _take(handle, path, what, wait=True) == "waited"
    finally:
        os.close(handle)


def _open(path: Path, create: bool) -> int | None:
    try:
        return os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o666)
    except FileNotFoundError:
        if create:
            raise
        return None


def _take(handle: int, path: Path, what: str, wait: bool) -> Literal["free", "waited", "refused"]:
    if _lock(handle) is not False:
        return "free"
    if not wait:
        return "refused"
    logger.warning("waiting for %s that %s", _who(path), what)
    while _lock(handle) is False:
        check_cancelled()
        time.sleep(_LOOK_AGAIN_SECONDS)
    return "waited"


def _noted(lock: FileLock) -> FileLock:
    try:
        lock.note()
    except BaseException:
        lock.close()
        raise
    return lock


def read_note(path: Path) -> dict[str, Any]:
    """The note in a lock's file; empty when there is none, or none that can be read."""
    try:
        note = json.loads(path.read_bytes()[:_NOTE_BYTES])
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _who(path: Path) -> str:
    note = read_note(path)
    if "pid" not in note:
        return "another process"
    elsewhere = "" if note.get("host") == platform.node() else f" on {note.get('host')}"
    return f"process {note['pid']}{elsewhere}"


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _lock(handle: int, *, shared: bool = False) -> bool | None:
    """True: locked; False: another has it; None: there are no locks here. Never waits."""
    try:
        return _lock_shared(handle) if shared else _lock_alone(handle)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        logger.debug("no file locks here: %s", error)
        return None


def _lock_alone(handle: int) -> bool:
    from filelock import lock_descriptor  # what needs no lock starts sooner without

    return lock_descriptor(handle, blocking=False)


def _lock_shared(handle: int) -> bool | None:
    """The same kind of lock, for many at once, which `filelock` takes only for one."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
