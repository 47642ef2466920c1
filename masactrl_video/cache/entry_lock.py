"""The files that are locked while an entry is looked for, checked and made."""

import re
from pathlib import Path

from masactrl_video.storage.lock import lock_file
from masactrl_video.storage.staging import remove_abandoned

_LOCK = re.compile(r"\.[0-9a-f]+\.lock")


def making_path(root: Path, fingerprint: str) -> Path:
    """The file of an entry, there or not."""
    return root / f".{fingerprint}.lock"


def tidy(root: Path) -> dict[str, int]:
    """Remove what processes that died have left; returns the names of folders, and their sizes in bytes."""
    removed = remove_abandoned(root)
    for path in root.iterdir():
        lock = lock_file(path, "", wait=False, create=False) if _LOCK.fullmatch(path.name) else None
        if lock is not None:
            lock.close(remove=True)
    return removed
