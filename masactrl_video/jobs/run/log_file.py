"""A log beside an output: what was asked for, with what it was made, what happened and how long it took."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

import yaml

from masactrl_video.errors import printable
from masactrl_video.jobs.run.report import REPORTS, Tell
from masactrl_video.storage.write_errors import storing_in

LOG_NAME = "log.txt"

_LOGS: ContextVar[tuple[RunLog, ...]] = ContextVar("logs", default=())


class RunLog(logging.Handler):
    """Keeps the package's log lines until there is a folder for them, and writes them from then on."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
        self.warnings: list[str] = []
        """Messages of the warnings, in order."""
        self._waiting: list[str] = []
        self._file: TextIO | None = None
        self._begun_seconds = time.perf_counter()

    def beside(self, tell: Tell) -> Tell:
        """Takes what `Report` tells, and passes it on: times of stages are in the log whatever else is logged."""

        def told(event: dict[str, Any]) -> None:
            if event.keys() == {"stage", "seconds"}:
                facts = {"levelname": "INFO", "msg": f"{event['stage']} took {event['seconds']:.3f} seconds"}
                self._write(printable(self.format(logging.makeLogRecord(facts))))
            tell(event)

        return told

    def emit(self, record: logging.LogRecord) -> None:
        """Take a log line, if this run says it."""
        if self not in _LOGS.get() or record.name == REPORTS:  # another run's, or told already
            return
        if record.levelno >= logging.WARNING:
            self.warnings.append(record.getMessage())
        self._write(printable(self.format(record)))

    @contextmanager
    def written(self, path: Path, asked: Mapping[str, Any]) -> Iterator[None]:
        """Inside the context, it goes into a file; what an earlier run wrote there stays above.

        Args:
            asked: the resolved settings, as plain data.
        """
        from masactrl_video.model.versions import versions  # not before there is anything to be written

        made_with = ", ".join(f"{name} {version}" for name, version in versions().items())
        settings = yaml.safe_dump(dict(asked), sort_keys=False, allow_unicode=True, width=10**6)  # a line a setting
        waiting, self._waiting = self._waiting, []
        with path.open("a", encoding="utf-8", errors="backslashreplace") as self._file:
            try:
                for text in (f"--- {made_with}", settings.rstrip(), *waiting):
                    self._write(text)
                yield
                self._write(f"--- done after {time.perf_counter() - self._begun_seconds:.1f} seconds")
            except BaseException as error:
                self._write(printable(f"--- stopped: {str(error) or type(error).__name__}"))
                raise
            finally:
                self._file = None

    def write(self, path: Path, asked: Mapping[str, Any]) -> None:
        """Write the log of something that is done.

        Args:
            asked: the resolved settings, as plain data.

        Raises:
            StorageError: it cannot be written.
        """
        with storing_in(path.parent), self.written(path, asked):
            pass

    def _write(self, text: str) -> None:
        if self._file is None:
            self._waiting.append(text)
        else:
            with suppress(OSError):  # a disk that is full stops a run where something else than its log is written
                self._file.write(text + "\n")
                self._file.flush()  # a run that is killed leaves what it said


@contextmanager
def run_log() -> Iterator[RunLog]:
    """Inside the context, what the package logs is kept; not what another run says meanwhile in another thread.

    Threads that the run starts say it in the context that `progress.carried` gives them.
    """
    log, logger = RunLog(), logging.getLogger("masactrl_video")
    logger.addHandler(log)
    token = _LOGS.set((*_LOGS.get(), log))
    try:
        yield log
    finally:
        _LOGS.reset(token)
        logger.removeHandler(log)
