"""Jobs one after another: a model fills a machine, so the others wait."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Condition, Event, Thread
from typing import Any

from masactrl_video.errors import UserError, printable
from masactrl_video.progress import Cancelled, CancelToken, stopped_by, watching
from masactrl_video.settings.fields import Command
from masactrl_video.storage.lock import lock_file
from masactrl_video.web import making
from masactrl_video.web.following import Follower, Progress
from masactrl_video.web.job import Job, read_job
from masactrl_video.web.places import Places

logger = logging.getLogger(__name__)

Make = Callable[[Job, Path, Callable[[dict[str, Any]], None]], None]


class Queue:
    """All jobs of a folder, those of earlier servers too; what they had not finished goes on."""

    def __init__(self, places: Places, make: Make = making.make, *, for_others: bool = False) -> None:
        """Take over a folder.

        Args:
            make: what does a job.
            for_others: whether others than the owner of this machine ask for jobs: those take no files of the machine.

        Raises:
            UserError: another server works in the same folder.
        """
        self.for_others = for_others
        self.places = places
        self._make = make
        self._changed = Condition()
        self._closing = False
        self._token = CancelToken()
        self._follower = Follower()
        lock = lock_file(places.root / ".server", "serves the same folder", wait=False)
        if lock is None:
            raise UserError(f"--folder: another server works in {places.root}; stop it, or give another folder")
        self._lock = lock
        self._jobs = {job.name: job for job in map(self._found, places.job_names()) if job}
        self._loaded = Event()
        self._first: Callable[[], None] = lambda: None
        self._thread = Thread(target=self._work, name="jobs", daemon=True)

    def start(self, first: Callable[[], None] = lambda: None) -> None:
        """Begin with the first job that waits, in a thread of its own.

        Args:
            first: what that thread does before any job.
        """
        self._first = first
        self._thread.start()

    def close(self, seconds: float = 30) -> None:
        """Have the job that runs stop at its next step; another server of the folder will go on with it."""
        with self._changed:
            self._closing = True
            self._token.cancel()
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(seconds)
        self._lock.close(remove=True)

    def add(
        self,
        command: Command,
        preset: str,
        changes: Mapping[str, Any],
        more: Mapping[str, Any] | None = None,
        files: Mapping[str, Any] | None = None,
    ) -> Job:
        """Put a job at the end of the queue.

        Args:
            changes: settings that are said.
            more: what else the command takes.
            files: of `changes` and `more`, what are files that were sent: a path, or a list or mapping in which paths
                are such files. They are taken into the job's folder.

        Raises:
            UserError: anything in it cannot be used; nothing stays of it.
        """
        folder = self.places.new(command)
        try:
            kept = {name: self._kept(value, folder) for name, value in (files or {}).items()}
            own = {name: kept.pop(name, value) for name, value in {**(more or {})}.items()}
            job = Job(folder.name, command, preset, {**changes, **kept}, own)
            if self.for_others:
                making.check_own_files(job, self.places.root)
            making.check(job, folder)
            job.write(folder)
        except BaseException:
            _remove(folder)
            raise
        with self._changed:
            self._jobs[job.name] = job
            self._changed.notify_all()
        return job

    def jobs(self) -> list[Job]:
        """All jobs, the oldest first."""
        with self._changed:
            return list(self._jobs.values())

    def job(self, name: str) -> Job:
        """A job by its name.

        Raises:
            UserError: there is none.
        """
        with self._changed:
            if name not in self._jobs:
                raise UserError(f"job {name[:60]!r}: there is none of that name here")
            return self._jobs[name]

    def folder(self, job: Job) -> Path:
        """Where a job's files lie."""
        return self.places.folder_of(job.name)

    def waiting(self) -> list[Job]:
        """Those that run or wait, in their order."""
        jobs = self.jobs()
        return [job for job in jobs if job.state == "running"] + [job for job in jobs if job.state == "waiting"]

    def progress(self) -> Progress:
        """Of the job that runs."""
        return self._follower.now()

    def stop(self, name: str) -> None:
        """Have a job stop at its next step, or wait no longer; what is done stays."""
        with self._changed:
            job = self.job(name)
            if job.state == "running":
                self._token.cancel()
            elif job.state == "waiting":
                self._set(job.becomes("stopped"))

    def go_on(self, name: str) -> None:
        """Put a job that was stopped, or has failed, at the end of the queue again."""
        with self._changed:
            job = self.job(name)
            if job.state in ("stopped", "failed"):
                self._jobs.pop(name)
                self._set(job.becomes("waiting"))
                self._changed.notify_all()

    def _kept(self, value: Any, folder: Path) -> Any:
        if isinstance(value, Mapping):
            return {key: self._kept(one, folder) for key, one in value.items()}
        if isinstance(value, list):
            return [self._kept(one, folder) for one in value]
        return str(self.places.keep(value, folder)) if isinstance(value, Path) else value

    def _found(self, name: str) -> Job | None:
        """A job of an earlier server; what that one was doing waits again, unless it is done."""
        folder = self.places.folder_of(name)
        try:
            job = read_job(folder)
            if job.state == "running":
                job = job.becomes("done" if making.is_done(job, folder) else "waiting")
                job.write(folder)
        except (UserError, OSError, KeyError) as error:
            logger.warning("%s: %s", name, error)
            return None
        return job

    def wait_until_loaded(self, seconds: float = 60) -> bool:
        """Wait for what `start` has done first; returns whether it is done."""
        return self._loaded.wait(seconds)

    def _work(self) -> None:
        self._first()
        self._loaded.set()
        while (job := self._next()) is not None:
            state, message = self._do(job)
            with self._changed:
                if state == "stopped" and self._closing:
                    return  # it stays as it is, for the next server
                self._set(job.becomes(state, message))

    def _next(self) -> Job | None:
        """The job that comes next, running from now on; waits for one. None when the server ends."""
        with self._changed:
            while not self._closing:
                for job in self._jobs.values():
                    if job.state == "waiting":
                        self._token, self._follower = CancelToken(), Follower()
                        return self._set(job.becomes("running"))
                self._changed.wait()
        return None

    def _do(self, job: Job) -> tuple[Any, str]:
        try:
            folder = self.places.folder_of(job.name)
            if job.command != "source make" and making.is_done(job, folder):
                return "done", ""  # by its line, meanwhile
            with stopped_by(self._token), watching(self._follower):
                self._make(job, folder, self._follower.tell)
        except Cancelled:
            return "stopped", ""
        except (UserError, OSError) as error:
            return "failed", printable(str(error))
        except Exception as error:
            logger.exception("%s", job.name)
            if "out of memory" in str(error).lower():
                return "failed", printable(f"{error}; close what else uses the device, or take a smaller size")
            return "failed", printable(f"{type(error).__name__}: {error}; the server's own output says more")
        return "done", ""

    def _set(self, job: Job) -> Job:
        self._jobs[job.name] = job
        with contextlib.suppress(OSError, UserError):  # a disk that is full, or a folder that somebody has removed
            job.write(self.places.folder_of(job.name))
        return job


def _remove(folder: Path) -> None:
    """A folder of a job that is not to be; it holds copies of what was sent, and nothing else."""
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()
