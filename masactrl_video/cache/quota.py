"""How large the cache may become: the longest unused entries make room for a new one."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from masactrl_video.cache.holders import is_held
from masactrl_video.cache.manage import cache_size, list_entries, remove_unused
from masactrl_video.cache.partial import folder_bytes, partials, remove_abandoned
from masactrl_video.errors import StorageError

logger = logging.getLogger(__name__)

DEFAULT_BYTES = 100 * 10**9
"""The default limit, where half of the space that the disk has for the cache is not less."""


@dataclass(frozen=True)
class Quota:
    """How large the cache may become."""

    bytes: int
    asked: bool = True
    """False for the default: what does not fit is recorded all the same, and that is said."""


def default_quota(root: Path) -> Quota:
    """100 GB, or half of what is free on the disk or taken by the cache where that is less."""
    place = next(path for path in (root, *root.absolute().parents) if path.is_dir())
    return Quota(min(DEFAULT_BYTES, (shutil.disk_usage(place).free + cache_size(root)[1]) // 2), asked=False)


def make_room(root: Path, quota: Quota, needed_bytes: int) -> None:
    """Remove entries until `needed_bytes` more fit into the quota: the longest unused first.

    None goes that is in use, in this process or another, or is held for an unfinished run or a saved character.
    What other processes are writing at this moment counts with the size that it has now.

    Raises:
        StorageError: it can never fit (then nothing is removed), or not while other entries are needed.
    """
    if needed_bytes > quota.bytes:
        _does_not_fit(
            quota,
            f"the source needs {needed_bytes / 1e6:.1f} MB of the cache, whose {_name(quota)} is "
            f"{quota.bytes / 1e6:.1f} MB",
            "give a larger --cache-quota",
        )
        return
    if root.is_dir():
        remove_abandoned(root)
    entries = list_entries(root)
    over_bytes = sum(entry.bytes for entry in entries) + _growing_bytes(root) + needed_bytes - quota.bytes
    for entry in entries:
        if over_bytes <= 0:
            return
        if not is_held(root, entry.name) and remove_unused(root, entry.name):
            logger.warning(
                "cache: removed the longest unused entry %s, %.1f MB, for the %s of %.1f MB (--cache-quota)",
                *(entry.name, entry.bytes / 1e6, _name(quota), quota.bytes / 1e6),
            )
            over_bytes -= entry.bytes
    if over_bytes > 0:
        _does_not_fit(
            quota,
            f"the cache in {root} is {over_bytes / 1e6:.1f} MB over its {_name(quota)} of {quota.bytes / 1e6:.1f} MB "
            "with this source, and all that is left is in use, or held for unfinished runs and saved characters",
            "give a larger --cache-quota, wait for the other runs, or remove entries (`masactrl-video cache prune`)",
        )


def _name(quota: Quota) -> str:
    return "quota" if quota.asked else "default limit"


def _does_not_fit(quota: Quota, what: str, way_out: str) -> None:
    if quota.asked:
        raise StorageError(f"{what}; {way_out}")
    logger.warning("%s; it is recorded all the same", what)


def _growing_bytes(root: Path) -> int:
    return sum(folder_bytes(path) for path in partials(root)) if root.is_dir() else 0
