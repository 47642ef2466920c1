"""How large the cache may become: the longest unused entries make room for a new one."""

from __future__ import annotations

import logging
from pathlib import Path

from masactrl_video.cache.manage import list_entries, remove_unused
from masactrl_video.cache.partial import folder_bytes, partials, remove_abandoned
from masactrl_video.errors import StorageError

logger = logging.getLogger(__name__)


def make_room(root: Path, quota_bytes: int, needed_bytes: int) -> None:
    """Remove entries, the longest unused first and none that is in use, until `needed_bytes` more fit into the quota.

    What other processes are writing at this moment counts with the size that it has now.

    Raises:
        StorageError: it can never fit (then nothing is removed), or not while other entries are in use.
    """
    if needed_bytes > quota_bytes:
        raise StorageError(
            f"the source needs {needed_bytes / 1e6:.1f} MB of the cache, whose quota is {quota_bytes / 1e6:.1f} MB; "
            "give a larger --cache-quota"
        )
    if root.is_dir():
        remove_abandoned(root)
    entries = list_entries(root)
    over_bytes = sum(entry.bytes for entry in entries) + _growing_bytes(root) + needed_bytes - quota_bytes
    for entry in entries:
        if over_bytes <= 0:
            return
        if remove_unused(root, entry.name):
            logger.warning(
                "cache: removed the longest unused entry %s, %.1f MB, for the quota", entry.name, entry.bytes / 1e6
            )
            over_bytes -= entry.bytes
    if over_bytes > 0:
        raise StorageError(
            f"the cache in {root} is {over_bytes / 1e6:.1f} MB over its quota of {quota_bytes / 1e6:.1f} MB with this "
            "source, and all that is left is in use; give a larger --cache-quota, or wait for the other runs"
        )


def _growing_bytes(root: Path) -> int:
    return sum(folder_bytes(path) for path in partials(root)) if root.is_dir() else 0
