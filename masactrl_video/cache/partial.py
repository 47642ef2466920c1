"""Folders of entries that are being written or removed: hidden, and named by the process that owns them."""

import logging
import os
import platform
import re
import secrets
import shutil
import time
from pathlib import Path

logger = logging.getLogger(__name__)

SILENT_SECONDS = 24 * 3600
"""A writer that added nothing for so long is taken for dead, even if its process number is in use."""

_NAME = re.compile(r"\.[0-9a-f]+\.partial-(?P<host>.*)-(?P<pid>\d{1,9})-[0-9a-f]{8}")


def partial_path(root: Path, fingerprint: str) -> Path:
    """A fresh hidden name beside the entry's place, for this process."""
    return root / f".{fingerprint}.partial-{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"


def _is_abandoned(path: Path, host: str, pid: int) -> bool:
    if host == platform.node() and not _is_alive(pid):
        return True
    try:
        return time.time() - path.lstat().st_mtime > SILENT_SECONDS
    except FileNotFoundError:  # its process finished meanwhile
        return False


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
    """Remove partial folders whose process is dead; returns their names and sizes in bytes.

    A process on this machine is asked for; in any case a folder counts when nothing was written into it for a day.
    """
    removed = {}
    matches = [(path, _NAME.fullmatch(path.name)) for path in root.iterdir()]
    for path in [path for path, match in matches if match and _is_abandoned(path, match["host"], int(match["pid"]))]:
        try:
            size_bytes = folder_bytes(path)
            remove(path)
        except OSError as error:  # another process was faster, or it is another user's
            logger.warning("%s, left by a process that died, cannot be removed: %s", path, error.strerror)
            continue
        logger.info("removed %s, left by a process that died", path)
        removed[path.name] = size_bytes
    return removed


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
