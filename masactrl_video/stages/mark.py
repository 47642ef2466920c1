"""The mark of an unfinished run: a hidden file in its folder, locked while the run is alive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from masactrl_video.files.lock import FileLock, lock_file, read_note, wait_until_free

MARK_NAME = ".unfinished"

DISCARDING = "discarding"
"""What an earlier run has left is being removed, as the user asked."""

RENDERING = "rendering"
"""The folder holds what the settings in it imply, as far as it is there."""

_WHAT = "writes the same output"


def read_state(folder: Path) -> str | None:
    """How far an unfinished run is, alive or not; None where there is none."""
    state = read_note(folder / MARK_NAME).get("state")
    return state if state in (DISCARDING, RENDERING) else None


def wait_for_another(folder: Path) -> bool:
    """Wait while another process writes into a folder; returns whether there was one."""
    return wait_until_free(folder / MARK_NAME, _WHAT)


@contextmanager
def marked(folder: Path) -> Iterator[FileLock]:
    """The mark, locked; waits for another process that has it. It goes when the run ends well, or has not begun."""
    mark = lock_file(folder / MARK_NAME, _WHAT)
    assert mark is not None
    try:
        yield mark
        mark.close(remove=True)
    finally:
        mark.close(remove=read_state(folder) is None)
