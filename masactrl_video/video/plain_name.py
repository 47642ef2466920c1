"""A name for libraries that take names of files as UTF-8 only."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def plain_name(path: Path) -> Iterator[str]:
    """The name of the file at an absolute path, or while the context lasts, where that is no UTF-8, of a link to it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory(prefix="masactrl-video-") as folder:
            link = Path(folder) / "file"
            link.symlink_to(path)
            yield str(link)
    else:
        yield str(path)
