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


def is_kept_live(settings: WorkSettings, needed_bytes: int, live_bytes: int) -> bool:
    """Whether a source is not kept, but made again beside the frames; where it is, that is said.

    Args:
        needed_bytes: of its keys and values.
        live_bytes: of what is kept of a live source.
    """
    quota, again = cache_quota(settings), f"it is made again for each chunk of {settings.chunk_frames} frames"
    if settings.source_storage == "live":
        logger.info("source: live, %s, and %.1f MB are kept of it", again, live_bytes / 1e6)
        return True
    if settings.source_storage == "cache" or quota is None or not live_bytes <= quota.bytes < needed_bytes:
        return False  # what does not fit either way is told elsewhere
    logger.warning(
        "source: its keys and values would take %.1f MB, more than the cache's limit of %.1f MB: live, %s "
        "(source_storage auto; --source-storage cache and a larger --cache-quota keep it)",
        *(needed_bytes / 1e6, quota.bytes / 1e6, again),
    )
    return True


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
