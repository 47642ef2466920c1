"""The folder that a page works in: a folder for each job, and what browsers have sent and no job has taken yet."""

from __future__ import annotations

import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from masactrl_video.errors import UserError

UPLOADS = "uploads"
"""What browsers have sent; a job that takes a file gets a copy of its own."""

JOB_FILE = "job.json"

_JOB_NAME = re.compile(r"\d{8}-\d{6}-[a-z-]{1,40}(-\d{1,4})?")
_LONGEST_NAME = 80


@dataclass(frozen=True)
class Places:
    """Where everything lies."""

    root: Path
    """Absolute, without links on its way."""

    @classmethod
    def at(cls, folder: Path) -> Places:
        """Make the folder where there is none.

        Raises:
            UserError: it cannot be made, or is none.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            root = folder.resolve()
            (root / UPLOADS).mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(
                f"--folder: {folder} cannot be used ({error.strerror}); give a folder of your own"
            ) from error
        return cls(root)

    @property
    def uploads(self) -> Path:
        """Where files lie that a browser has sent."""
        return self.root / UPLOADS

    def new(self, command: str) -> Path:
        """A new folder for a job; its name tells when it was asked for."""
        stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{command.replace(' ', '-')}"
        for number in range(1, 10_000):
            folder = self.root / (stem if number == 1 else f"{stem}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
        raise UserError(f"{self.root} holds too many jobs of this second; wait for a moment")

    def folder_of(self, job: str) -> Path:
        """The folder of a job; no other name is ever joined to the root.

        Raises:
            UserError: it is no name of a job, or there is none of that name.
        """
        folder = self.root / job if _JOB_NAME.fullmatch(job) else None
        if folder is None or folder.is_symlink() or not (folder / JOB_FILE).is_file():
            raise UserError(f"job {job[:60]!r}: there is none of that name here")
        return folder

    def job_names(self) -> list[str]:
        """Names of all jobs, the oldest first."""
        names = (path.name for path in self.root.iterdir() if _JOB_NAME.fullmatch(path.name))
        return sorted((name for name in names if (self.root / name / JOB_FILE).is_file()), key=_in_order)

    def is_inside(self, path: Path) -> bool:
        """Whether a path lies in the folder, wherever links on its way lead."""
        try:
            return self.root in path.resolve(strict=True).parents
        except (OSError, RuntimeError, ValueError):
            return False

    def keep(self, sent: Path, folder: Path) -> Path:
        """Copy a file that a browser has sent, or that another job has, into the folder of a job.

        Raises:
            UserError: it is no ordinary file, or lies anywhere else.
        """
        if sent.is_symlink() or not sent.is_file() or not self.is_inside(sent):
            raise UserError(f"{sent.name}: this is no file that was sent to this page; drop it there")
        name = safe_name(sent.name)
        place = folder / name
        number = 1
        while place.exists():
            number += 1
            place = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
        try:
            os.link(sent, place, follow_symlinks=False)  # a second name of the same bytes: a large clip is not copied
        except OSError:  # a file system without them
            shutil.copyfile(sent, place, follow_symlinks=False)
        return place


def safe_name(name: str) -> str:
    """A file's name as it is kept: its last part, of letters, digits, dots, - and _ alone; never hidden, never long."""
    last = re.split(r"[/\\]", name)[-1]
    cleaned = re.sub(r"[^\w.-]+", "_", last).lstrip(".-_")
    stem, suffix = Path(cleaned or "file").stem, Path(cleaned or "file").suffix[:12]
    kept = f"{stem[: _LONGEST_NAME - len(suffix)]}{suffix}"
    return kept if kept not in (JOB_FILE, "out") and not kept.startswith("out.") else f"given-{kept}"


def _in_order(name: str) -> tuple[str, int]:
    """The second of its beginning, then its number among those of the same second and command."""
    number = name.rpartition("-")[2]
    return name[:15], int(number) if number.isdigit() else 1
