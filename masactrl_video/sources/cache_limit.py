"""Where recorded sources are kept, how many may be, and what is said when they have become many."""

from __future__ import annotations

import logging
from pathlib import Path

from masactrl_video.cache.durable import ELSEWHERE
from masactrl_video.cache.holders import forget_done
from masactrl_video.cache.manage import Quota, cache_size, default_cache_root, default_quota, list_entries
from masactrl_video.errors import counted
from masactrl_video.settings.work_parts import WorkSettings
from masactrl_video.storage.write_errors import check_writable

logger = logging.getLogger(__name__)

LARGE_BYTES = 10 * 10**9
"""From here on, or from half of its limit on, a run ends with the cache's size."""


def cache_root(settings: WorkSettings) -> Path:
    """Where recorded sources are kept."""
    return settings.cache_dir or default_cache_root()


def cache_quota(settings: WorkSettings) -> Quota | None:
    """How large the cache may become; None without a limit."""
    if settings.cache_quota == "none":
        return None
    return default_quota(cache_root(settings)) if settings.cache_quota == "auto" else Quota(settings.cache_quota)


def say_cache_size(settings: WorkSettings) -> None:
    """At the end of a run, say how large the cache is, when that is much."""
    root, quota = cache_root(settings), cache_quota(settings)
    forget_done(root)
    entries, size_bytes = cache_size(root)
    if size_bytes < min(LARGE_BYTES, quota.bytes / 2 if quota else LARGE_BYTES):
        return
    limit = f"its limit is {quota.bytes / 1e9:.1f} GB" if quota else "it has no limit"
    logger.info(
        "the cache is large: %s, %.1f GB, in %s; %s (--cache-quota), and `masactrl-video cache prune` makes room",
        *(counted(entries, "source"), size_bytes / 1e9, root, limit),
    )


def check_cache(settings: WorkSettings) -> None:
    """See, before any model is loaded, that a source can be recorded, or that some are there to be read.

    Raises:
        UserError: the cache is no folder, or it is empty and cannot be written.
    """
    root = cache_root(settings)
    if not list_entries(root):
        check_writable(root / "entry", ELSEWHERE)
