"""Hashes that took long, remembered in the user's cache folder; without it they are only computed again."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import JsonValue

from masactrl_video.storage.lock import lock_file
from masactrl_video.storage.replace import replacing

_SETTLED_NS = 2 * 10**9
"""A file that was changed so lately may change again within the same tick of a disk's clock."""
_MOST = 2000
"""Entries; those that were added first go."""


def memory_path() -> Path:
    """`hashes.json` in the cache's usual folder."""
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    usual = (xdg if xdg.is_absolute() else Path("~/.cache")) / "masactrl-video"
    return Path(os.environ.get("MASACTRL_VIDEO_CACHE") or usual).expanduser() / "hashes.json"


def state_of(files: Sequence[Path]) -> list[JsonValue] | None:
    """Path, size and time of each file; None where that does not tell one content from another."""
    try:
        states = [(str(path.resolve()), path.stat()) for path in files]
    except OSError:
        return None
    if any(time.time_ns() - state.st_mtime_ns < _SETTLED_NS for _, state in states):
        return None
    return [[path, state.st_size, state.st_mtime_ns] for path, state in states]


def remembered(key: str, compute: Callable[[], str]) -> str:
    """What was computed for this key before, by any process, else what is computed now."""
    try:
        path = memory_path()
    except RuntimeError:  # a home that nobody has
        return compute()
    found = _read(path).get(key)
    if found is not None:
        return found
    value = compute()
    _add(path, key, value)
    return value


def _read(path: Path) -> dict[str, str]:
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {key: value for key, value in known.items() if isinstance(value, str)}


def _add(path: Path, key: str, value: str) -> None:
    """Where it cannot be written, or another process is writing it, it is computed again the next time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = lock_file(path.with_name(f".{path.name}.lock"), "remembers hashes", wait=False)
        if lock is None:
            return
        try:
            known = [*_read(path).items(), (key, value)][-_MOST:]
            with replacing(path) as partial:
                partial.write_text(json.dumps(dict(known), indent=1), encoding="utf-8")
        finally:
            lock.close(remove=True)
    except OSError:
        return
