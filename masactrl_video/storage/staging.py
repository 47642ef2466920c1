"""Folders that appear whole or not at all, and go whole or not at all."""

from __future__ import annotations

import errno
import logging
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from masactrl_video.errors import UserError
from masactrl_video.storage.durable import sync_folder, sync_tree
from masactrl_video.storage.fingerprint import hash_bytes
from masactrl_video.storage.lock import is_abandoned, lock_folder

logger = logging.getLogger(__name__)

_STAGING = re.compile(r"\.(?P<name>.+)\.partial-(?P<host>.*)-(?P<pid>\d{1,10})-[0-9a-f]{8}", re.DOTALL)

WhenThere = Literal["refuse", "replace", "keep"]
"""What happens to a folder that is there already: it stays with an error, makes room, or stays without a word."""


@contextmanager
def staged_folder(folder: Path, when_there: WhenThere = "refuse") -> Iterator[Path]:
    """A new hidden sibling to write into; it becomes `folder` at the end, or is deleted when an exception leaves.

    What has its place is on the disk. Siblings that a process which died has left are removed.

    Raises:
        UserError: the folder came into being meanwhile, and is neither to be replaced nor kept.
    """
    staging = staging_path(folder)
    staging.mkdir(parents=True)
    lock = lock_folder(staging, shared=False)
    try:
        remove_abandoned(folder.parent, of=folder)
        yield staging
        sync_tree(staging)
        _put(staging, folder, when_there)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if lock is not None:
            lock.close()


def _put(staging: Path, folder: Path, when_there: WhenThere) -> None:
    if when_there == "replace" and os.path.lexists(folder):
        old = staging_path(folder)
        folder.rename(old)  # a folder that holds something cannot be renamed over
        try:
            staging.rename(folder)
        except BaseException:
            old.rename(folder)
            raise
        _remove(old)
        return
    try:
        staging.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if when_there != "keep":
            raise UserError(f"{folder} was made meanwhile; give another name") from error
        logger.info("%s was finished by another process meanwhile", folder)


def staging_path(folder: Path) -> Path:
    """A fresh hidden name beside a folder's place, which says whose it is."""
    return folder.with_name(f".{folder.name}.partial-{_host()}-{os.getpid()}-{secrets.token_hex(4)}")


def _host() -> str:
    return hash_bytes(platform.node().encode())[:8]  # a host's own name may be long


def staged(parent: Path, of: Path | None = None) -> list[Path]:
    """Folders that are being written or removed, or were when a process died.

    Args:
        of: only those that were to become this folder.
    """
    names = ((path, _STAGING.fullmatch(path.name)) for path in parent.iterdir())
    return [path for path, match in names if match and (of is None or match["name"] == of.name)]


def is_staging(name: str) -> bool:
    """Whether a folder's name is one of `staging_path`: left by a process that died, when nobody writes there."""
    return _STAGING.fullmatch(name) is not None


def remove_abandoned(parent: Path, of: Path | None = None) -> dict[str, int]:
    """Remove the folders of `staged` in which nobody works any more; returns their names and sizes in bytes."""
    removed = {}
    for path in filter(_is_abandoned, staged(parent, of)):
        try:
            size_bytes = folder_bytes(path)
            remove_whole(path)
        except OSError as error:  # another process was faster, or it is another user's
            logger.warning("%s, left by a process that died, cannot be removed: %s", path, error.strerror)
            continue
        logger.info("removed %s, left by a process that died", path)
        removed[path.name] = size_bytes
    return removed


def _is_abandoned(path: Path) -> bool:
    match = _STAGING.fullmatch(path.name)
    assert match
    return is_abandoned(path, dead=match["host"] == _host() and not _is_alive(int(match["pid"])))


def _is_alive(pid: int) -> bool:
    if os.name != "posix":  # elsewhere the signal 0 is a real one
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def remove_whole(path: Path) -> None:
    """Remove a folder, or a link but not what it points to.

    It is renamed first: nobody sees it with half of its files, and of two processes only one removes it.
    """
    match = _STAGING.fullmatch(path.name)
    doomed = staging_path(path.with_name(match["name"]) if match else path)
    path.rename(doomed)
    _remove(doomed)


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink()
    else:
        shutil.rmtree(path)


def folder_bytes(folder: Path) -> int:
    """Size of all files of a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
