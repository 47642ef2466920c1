"""For whom an entry is kept: unfinished runs that will go on with it, and characters that are made of it.

Beside an entry lies `.<fingerprint>.held`, a line for each holder: a file that is there as long as the entry is wanted,
and for runs without such a one, another that is there when they are done.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

logger = logging.getLogger(__name__)

_MOST_BYTES = 2**20


def held_path(root: Path, name: str) -> Path:
    """The list of an entry's holders."""
    return root / f".{name}.held"


def hold(entry: Path, while_there: Path, until_there: Path | None = None) -> None:
    """Keep an entry from the cache's limit as long as one file is there and another is not.

    A cache that may not be written is left as it is: nobody removes anything from it either.
    """
    line = json.dumps([str(path.absolute()) for path in (while_there, until_there) if path is not None]) + "\n"
    path = held_path(entry.parent, entry.name)
    try:
        lines = [line for line in _lines(path) if _holds(line)]
        if line.strip() not in lines:
            path.write_text("".join(f"{kept}\n" for kept in lines) + line, encoding="utf-8")
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
