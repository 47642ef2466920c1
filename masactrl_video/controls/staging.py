"""A folder that appears complete or not at all."""

import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from masactrl_video.controls.store import INDEX_NAME, POSE_NAME, read_index
from masactrl_video.errors import UserError
from masactrl_video.storage.durable import sync_folder, sync_tree
from masactrl_video.storage.lock import is_abandoned, lock_folder

FRAME_PATTERN = re.compile(r"\d{6,}\.png")
_STAGING = re.compile(r"\.(?P<folder>.+)\.[0-9a-f]{32}\.(partial|old)", re.DOTALL)


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """A new sibling folder to write into; takes the place of `folder` on leaving, and is deleted after an exception.

    Siblings that a process which died has left are removed.

    Raises UserError, before anything is written, when `folder` exists and holds something else than guidance.
    """
    require_replaceable(folder)
    staging = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.partial")
    staging.mkdir(parents=True)
    lock = lock_folder(staging, shared=False)
    try:
        _remove_abandoned(folder)
        yield staging
        sync_tree(staging)
        _replace(folder, staging)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if lock is not None:
            lock.close()


def is_staging(name: str) -> bool:
    """Whether a folder's name is one of `staged_folder`: left by a process that died, when nobody writes there."""
    return _STAGING.fullmatch(name) is not None


def _remove_abandoned(folder: Path) -> None:
    for path in folder.parent.iterdir():
        match = _STAGING.fullmatch(path.name)
        if match and match["folder"] == folder.name and is_abandoned(path):
            shutil.rmtree(path, ignore_errors=True)


def require_replaceable(folder: Path) -> None:
    """Raises UserError unless `folder` is absent, empty, or guidance of ours without any other file."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir():
        raise UserError(f"{folder}: a file is in the way; name another folder for the guidance")
    try:
        read_index(folder)
    except UserError as error:
        raise UserError(f"{error}; it stays as it is: name another folder for the guidance") from error
    foreign = [entry.name for entry in folder.iterdir() if not _is_ours(entry.name)]
    if foreign:
        raise UserError(f"{folder}: holds other files beside guidance ({foreign[0]}); move them or name another folder")


def _is_ours(name: str) -> bool:
    return name in (INDEX_NAME, POSE_NAME) or FRAME_PATTERN.fullmatch(name) is not None


def _replace(folder: Path, staging: Path) -> None:
    """A non-empty folder cannot be renamed over: the old one steps aside first."""
    require_replaceable(folder)  # minutes have passed
    old = staging.with_suffix(".old")
    if folder.exists():
        folder.replace(old)
    staging.replace(folder)
    shutil.rmtree(old, ignore_errors=True)
