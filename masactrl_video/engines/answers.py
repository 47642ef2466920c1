"""What a worker's process answers with, and that it says nothing elsewhere."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from masactrl_video.cache.index import CacheDamaged
from masactrl_video.engines.letter import Answer
from masactrl_video.errors import StorageError, UserError


def tried(work: Callable[[], Any], *, opening: bool = False) -> Answer:
    """What work answers, or its fault: the node's where it opens things, or where nobody knows whose it is."""
    try:
        answer: Answer = work()
        return answer
    except (StorageError, CacheDamaged) as error:
        return ("node", str(error))
    except UserError as error:
        return ("node" if opening or "memory" in str(error) else "plan", str(error))
    except Exception as error:
        return ("node", f"{type(error).__name__}: {error}")


class Said(logging.Handler):
    """Keeps warnings for the owner. Nothing that this package says goes to the process's output."""

    def __init__(self, *, quiet: bool = True) -> None:
        """Listen.

        Args:
            quiet: close the process's output, where libraries would write prompts and paths.
        """
        super().__init__(logging.WARNING)
        self._messages: list[str] = []
        self._logger = logging.getLogger("masactrl_video")
        if quiet:
            _close_output()
            self._logger.handlers[:], self._logger.propagate = [], False
            self._logger.setLevel(logging.WARNING)
        self._logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self._messages.append(record.getMessage())

    def leave(self) -> None:
        """Listen no more."""
        self._logger.removeHandler(self)

    def taken(self) -> list[str]:
        """Those since the last time."""
        messages, self._messages = self._messages, []
        return messages


def _close_output() -> None:
    os.environ["TQDM_DISABLE"] = "1"
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
    sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115, as long as the process
