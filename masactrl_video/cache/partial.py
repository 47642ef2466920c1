"""Folders of entries that are being written or removed: hidden, named by the process that owns them, and locked."""

import logging
import os
import platform
import re
import secrets
import shutil
from pathlib import Path

from masactrl_video.storage.lock import is_abandoned, lock_file

logger = logging.getLogger(__name__)

_NAME = re.compile(r"\.[0-9a-f]+\.partial-(?P<host>.*)-(?P<pid>\d{1,9})-[0-9a-f]{8}")

_LOCK = re.compile(r"\.[0-9a-f]+\.lock")


def partial_path(root: Path, fingerprint: str) -> Path:
    """A fresh hidden name beside the entry's place, for this process."""
    return root / f".{fingerprint}.partial-{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"


def making_path(root: Path, fingerprint: str) -> Path:
    """The file that is locked while an entry is looked for, checked and made."""
    return root / f".{fingerprint}.lock"


def partials(root: Path) -> list[Path]:
    """Folders of entries that are being written or removed, or were when a process died."""
    return [path for path in root.iterdir() if _NAME.fullmatch(path.name)]


def _is_abandoned(path: Path) -> bool:
    match = _NAME.fullmatch(path.name)
    assert match
    dead = match["host"] == platform.node() and not _is_alive(int(match["pid"]))
    return is_abandoned(path, dead=dead)


def _is_alive(pid: int) -> bool:
    if os.name != "posix":  # elsewhere the signal 0 is a real one
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def remove_abandoned(root: Path) -> dict[str, int]:
    """Remove the partial folders in which nobody works any more; returns their names and sizes in bytes."""
    removed = {}
    for path in filter(_is_abandoned, partials(root)):
        try:
            size_bytes = folder_bytes(path)
            remove(path)
        except OSError as error:  # another process was faster, or it is another user's
            logger.warning("%s, left by a process that died, cannot be removed: %s", path, error.strerror)
            continue
        logger.info("removed %s, left by a process that died", path)
        removed[path.name] = size_bytes
    for path in filter(_is_lock, root.iterdir()):
        lock = lock_file(path, "", wait=False, create=False)
        if lock is not None:
            lock.close(remove=True)
    return removed


def _is_lock(path: Path) -> bool:
    return _LOCK.fullmatch(path.name) is not None


def remove(path: Path) -> None:
    """Remove a folder, or a link but not what it points to.

    It is renamed first: nobody sees it with half of its files, and of two processes only one removes it.
    """
    doomed = partial_path(path.parent, path.name.lstrip(".").partition(".")[0])
    path.rename(doomed)
    if doomed.is_symlink() or not doomed.is_dir():
        doomed.unlink()
    else:
        shutil.rmtree(doomed)


def folder_bytes(folder: Path) -> int:
    """Size of all files of a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
