"""A worker's side of a `Work`: it is opened on the worker's node, and done number by number."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from masactrl_video.engines.answers import Said, tried
from masactrl_video.engines.letter import Answer, Fetch
from masactrl_video.engines.place import Place
from masactrl_video.engines.work import Work, WorkLetter
from masactrl_video.errors import UserError


class WorkWorker:
    """Works where it runs; see `node.NodeWorker`."""

    def __init__(self, letter: Mapping[str, Any], fetch: Fetch, *, quiet: bool = True) -> None:
        """Open nothing yet; for the arguments see `node.NodeWorker`."""
        self._letter, self._fetch = WorkLetter(**letter), fetch
        self._do: Callable[[int], Any] | None = None
        self._place: Place | None = None
        self._said = Said(quiet=quiet)

    def begin(self) -> Answer:
        """Load all that is needed: ("ok",), or a fault."""
        return tried(self._begun, opening=True)

    def run(self, number: int) -> Answer:
        """Do a number: ("ok", result, seconds, warnings), or a fault."""
        if self._do is None and (begun := self.begin())[0] != "ok":  # the process is another than began
            return begun
        return tried(lambda: self._done(number))

    def steps(self) -> Answer:
        """("ok", 0, 0, 0): how far it is with a number is not told."""
        return ("ok", 0, 0, 0)

    def leave(self) -> Answer:
        """Remove what was laid down here."""
        if self._place is not None:
            self._place.remove()
        self._said.leave()
        return ("ok",)

    def _begun(self) -> Answer:
        self._opened()
        return ("ok",)

    def _opened(self) -> Callable[[int], Any]:
        if self._do is None:
            letter = self._letter
            torch.set_num_threads(letter.threads)
            work: Work[Any] = self._fetch(letter.work)
            self._do = work.open([self._source(path, letter.sources[n]) for n, path in enumerate(work.sources)])
        return self._do

    def _source(self, path: Path, sent: Mapping[str, Any] | str) -> Path:
        if isinstance(sent, str):
            if not Path(sent).is_dir():
                raise UserError(f"the recorded source is not there: {sent}; give --storage a folder that all nodes see")
            return Path(sent)
        self._place = self._place or Place(self._letter.run)
        return self._place.source(path.name, sent, self._fetch)

    def _done(self, number: int) -> Answer:
        torch.set_num_threads(self._letter.threads)
        begun_seconds = time.perf_counter()
        result = self._opened()(number)
        return ("ok", result, round(time.perf_counter() - begun_seconds, 3), self._said.taken())
