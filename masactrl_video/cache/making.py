"""One process at a time makes an entry, and one that is damaged makes room for another."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from masactrl_video.cache.entry_lock import making_path
from masactrl_video.cache.index import CacheDamaged
from masactrl_video.cache.store import CacheEntry, open_entry
from masactrl_video.errors import UserError
from masactrl_video.storage.lock import lock_file
from masactrl_video.storage.staging import remove_whole

logger = logging.getLogger(__name__)


@contextmanager
def making(root: Path, name: str) -> Iterator[None]:
    """Wait until no other process makes or checks the entry `name`; others wait until the `with` block ends.

    A cache that may not be written is read without that: nobody can make or remove anything in it.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = lock_file(making_path(root, name), "makes the same source")
    except OSError as error:
        logger.debug("%s: not locked: %s", root, error)
        lock = None
    try:
        yield
    finally:
        if lock is not None:
            lock.close(remove=True)


def open_or_discard(root: Path, name: str) -> CacheEntry | None:
    """The verified entry; None where there is none, or where it was damaged and is now removed.

    Raises:
        UserError: it is damaged and cannot be removed.
    """
    try:
        return open_entry(root, name)
    except CacheDamaged as damage:
        try:
            remove_whole(root / name)
        except OSError as error:
            raise UserError(f"{damage}; here it cannot be removed: {error.strerror}") from damage
        logger.warning("cache entry %s is damaged: %s; it is recorded anew", name, damage.what)
        return None
