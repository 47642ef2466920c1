"""For whom an entry is kept: unfinished runs that will go on with it, and characters that are made of it.

Beside an entry lies `<fingerprint>.held`, a line for each holder: a file that is there as long as the entry is wanted,
and for runs without such a one, another that is there when they are done.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

from masactrl_video.cache.index import is_entry_id

logger = logging.getLogger(__name__)

_MOST_BYTES = 2**20


def held_path(root: Path, name: str) -> Path:
    """The list of an entry's holders."""
    return root / f"{name}.held"


def hold(entry: Path, while_there: Path, until_there: Path | None = None) -> None:
    """Keep an entry from the cache's limit as long as one file is there and another is not.

    A cache that may not be written is left as it is: nobody removes anything from it either.
    """
    line = json.dumps([str(path.absolute()) for path in (while_there, until_there) if path is not None])
    path = held_path(entry.parent, entry.name)
    _rewrite(path, lambda lines: [*(kept for kept in lines if kept != line), line])


def release(entry: Path, while_there: Path) -> None:
    """Keep an entry no longer for whose file this is."""
    path, first = held_path(entry.parent, entry.name), str(while_there.absolute())
    _rewrite(path, lambda lines: [line for line in lines if json.loads(line)[0] != first])


def forget_done(root: Path) -> None:
    """Remove the lists of which no holder is left."""
    for path in root.glob("*.held"):
        if is_entry_id(path.stem):
            _rewrite(path, lambda lines: lines)


def _rewrite(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    """Change a list of holders; those that are done go, and the list with the last."""
    try:
        lines = change([line for line in _lines(path) if _holds(line)])
        if lines:
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        logger.debug("%s: not noted: %s", path, error)


def is_held(root: Path, name: str) -> bool:
    """Whether anybody will need the entry again."""
    try:
        return any(_holds(line) for line in _lines(held_path(root, name)))
    except OSError:
        return True  # somebody else's list: for all that is known, it is held


def _lines(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_MOST_BYTES).splitlines()
    except FileNotFoundError:
        return []


def _holds(line: str) -> bool:
    try:
        paths = json.loads(line)
        while_there, *until_there = (Path(path) for path in paths)
        return while_there.exists() and not any(path.exists() for path in until_there)
    except (ValueError, TypeError, OSError):  # damaged: no path of anybody
        return False
