"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from masactrl_video.storage.durable import sync_file, sync_folder

_PARTIAL = re.compile(r"\.(?P<stem>.+)\.\d+\.partial(?P<suffix>\.[^.]+)?", re.DOTALL)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary sibling with the same suffix, moved to `path` at the end; removed when an exception leaves.

    What has its place is on the disk: after a power cut there is the whole file, the one before, or none.
    """
    partial = partial_of(path)
    try:
        yield partial
        sync_file(partial)
        partial.replace(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def partial_of(path: Path, process: int | None = None) -> Path:
    """Where a file lies until it is whole, which a process (by default this one) writes."""
    return path.with_name(f".{path.stem}.{process or os.getpid()}.partial{path.suffix}")


def is_partial(name: str, of: Path | None = None) -> bool:
    """Whether a file's name is one of `replacing`: left by a process that died, when nobody writes there.

    Args:
        of: only those that were to become this file.
    """
    match = _PARTIAL.fullmatch(name)
    return match is not None and (of is None or (match["stem"], match["suffix"] or "") == (of.stem, of.suffix))
