"""Looking after the cache: where it is, what is in it, whether it is whole, and what may go."""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from masactrl_video.cache.entry_lock import making_path, tidy
from masactrl_video.cache.holders import held_path, is_held
from masactrl_video.cache.index import INDEX_NAME, CacheDamaged, CacheIndex, is_entry_id, read_index
from masactrl_video.cache.verify import check_entry
from masactrl_video.errors import StorageError, UserError
from masactrl_video.settings.home import at_home
from masactrl_video.storage.lock import lock_file, lock_folder
from masactrl_video.storage.staging import folder_bytes, remove_whole, staged

logger = logging.getLogger(__name__)

_DAY_SECONDS = 24 * 3600


@dataclass(frozen=True)
class EntrySummary:
    """One folder of the cache."""

    name: str
    """Fingerprint, or the hidden name of a folder that was never finished."""
    bytes: int
    """On disk, all files together."""
    last_used_seconds: float
    """Unix time."""
    index: CacheIndex | None
    """None when it cannot be read."""
    problem: str | None
    """Why the entry cannot be used, as far as was looked."""


def default_cache_root() -> Path:
    """`$MASACTRL_VIDEO_CACHE`, else `$XDG_CACHE_HOME/masactrl-video`, else `~/.cache/masactrl-video`."""
    if own := os.environ.get("MASACTRL_VIDEO_CACHE"):
        return Path(at_home(own))
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification says that relative paths are to be ignored.
    return (xdg if xdg.is_absolute() else Path.home() / ".cache") / "masactrl-video"


def list_entries(root: Path) -> list[EntrySummary]:
    """All entries, longest unused first; only their indexes are read."""
    if not root.exists():
        return []
    if not root.is_dir():
        raise UserError(f"the cache {root} is not a folder: set MASACTRL_VIDEO_CACHE to one")
    summaries = [_summary(path) for path in root.iterdir() if is_entry_id(path.name)]
    return sorted((s for s in summaries if s), key=lambda summary: (summary.last_used_seconds, summary.name))


def cache_size(root: Path) -> tuple[int, int]:
    """Number and bytes of all entries; no index is read."""
    if not root.is_dir():
        return 0, 0
    sizes = [folder_bytes(path) for path in root.iterdir() if is_entry_id(path.name)]
    return len(sizes), sum(sizes)


def verify_entries(root: Path, ids: Collection[str] | None = None) -> list[EntrySummary]:
    """Check every byte of the entries with these ids (None: of all); `problem` says what was found.

    Raises:
        UserError: no such entry.
    """
    entries = list_entries(root)
    if ids is not None:
        _require(ids, entries, root)
    return [_verified(root, entry) for entry in entries if ids is None or entry.name in ids]


def prune(
    root: Path,
    *,
    ids: Collection[str] = (),
    older_than_days: float | None = None,
    max_bytes: int | None = None,
    everything: bool = False,
) -> list[EntrySummary]:
    """Remove entries and return them, except those in use; folders left by processes that died go in any case.

    Args:
        root: folder of the whole cache.
        ids: entries to remove, damaged ones too.
        older_than_days: remove what was not used for so many days.
        max_bytes: then remove the longest unused until the rest is not larger than this.
        everything: remove all entries.

    Raises:
        UserError: no such entry, a negative limit, or a folder that cannot be removed, or is in use and was named.
    """
    for limit in (older_than_days, max_bytes):
        if limit is not None and limit < 0:
            raise UserError(f"the limit {limit} for pruning the cache is negative: give 0 or more")
    entries = list_entries(root)
    _require(ids, entries, root)
    before_seconds = -math.inf if older_than_days is None else time.time() - older_than_days * _DAY_SECONDS
    chosen = [e for e in entries if everything or e.name in ids or e.last_used_seconds < before_seconds]
    if max_bytes is not None:
        chosen += _excess([e for e in entries if e not in chosen], max_bytes)
    removed = []
    for entry in chosen:
        if remove_unused(root, entry.name):
            removed.append(entry)
        elif entry.name in ids:
            raise UserError(f"cache entry {entry.name} is in use by another process; remove it when that has ended")
        else:
            logger.warning("cache entry %s is in use by another process, and stays", entry.name)
    return removed + _remove_abandoned(root)


def _excess(oldest_first: list[EntrySummary], max_bytes: int) -> list[EntrySummary]:
    total_bytes = sum(entry.bytes for entry in oldest_first)
    excess = []
    for entry in oldest_first:
        if total_bytes <= max_bytes:
            break
        excess.append(entry)
        total_bytes -= entry.bytes
    return excess


def _require(ids: Collection[str], entries: list[EntrySummary], root: Path) -> None:
    if unknown := sorted(set(ids) - {entry.name for entry in entries}):
        raise UserError(f"no entry {unknown[0]!r} in the cache {root}: `masactrl-video cache list` shows the ids")


def _summary(folder: Path) -> EntrySummary | None:
    index, problem = None, None
    try:
        index = read_index(folder)
    except CacheDamaged as damage:
        problem = str(damage)
    clock = folder / INDEX_NAME if index else folder
    try:
        return EntrySummary(folder.name, folder_bytes(folder), clock.lstat().st_mtime, index, problem)
    except FileNotFoundError:  # another process removed it meanwhile
        return None


def _verified(root: Path, entry: EntrySummary) -> EntrySummary:
    try:
        check_entry(root / entry.name)
    except CacheDamaged as damage:
        return replace(entry, problem=str(damage))
    return entry


def remove_unused(root: Path, name: str) -> bool:
    """Remove an entry, unless a process makes, checks or reads it; returns whether it is gone.

    Raises:
        UserError: it cannot be removed.
    """
    folder = root / name
    try:
        making = lock_file(making_path(root, name), "", wait=False)
        if making is None:
            return False
        try:
            reading = lock_folder(folder, shared=False) if folder.is_dir() else None
            if reading is None and folder.is_dir():
                return False
            remove_whole(folder)
            held_path(root, name).unlink(missing_ok=True)
        finally:
            making.close(remove=True)
    except FileNotFoundError:  # another process was faster
        return True
    except OSError as error:
        raise UserError(f"cannot remove {name} from the cache {root}: {error.strerror}") from error
    return True


def _remove_abandoned(root: Path) -> list[EntrySummary]:
    removed = tidy(root) if root.exists() else {}
    return [EntrySummary(name, size, 0.0, None, "left by a process that died") for name, size in removed.items()]


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
        tidy(root)
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
    return sum(folder_bytes(path) for path in staged(root)) if root.is_dir() else 0
