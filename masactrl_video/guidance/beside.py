"""Guidance that is extracted in a thread while its first pictures are in use already."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor
from pathlib import Path
from threading import Condition

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.guidance.store import GuidanceFrames, read_guidance_picture

Extract = Callable[[Callable[[Path | None], None]], GuidanceFrames]
"""Makes guidance; calls what it is given with each picture's file in order, and with None where it may be stopped."""


class GuidanceBeside:
    """The pictures of a clip in the making: one that is not there yet is waited for.

    What stops the extraction is raised wherever a picture is asked for from then on, also one that is there.
    """

    def __init__(
        self, extract: Extract, executor: Executor, *, key: str, frames: int, size_px: tuple[int, int]
    ) -> None:
        """Begin.

        Args:
            key: what makes the pictures.
            size_px: height and width of each.
        """
        self.key = key
        self._frames, self._size_px = frames, size_px
        self._change, self._there, self._stopped = Condition(), 0, False
        self._staging: Path | None = None
        self._made = executor.submit(extract, self._on_picture)
        self._made.add_done_callback(lambda made: self._notify())

    def __len__(self) -> int:
        return self._frames

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """RGB uint8 (height, width, 3)."""
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        with self._change:
            self._change.wait_for(lambda: self._made.done() or index < self._there)
        if not self._made.done() and self._staging is not None:
            try:
                return read_guidance_picture(self._staging, index, self._size_px)
            except UserError:
                pass  # all are there now, and have moved to their place; or it is damaged, and is so there
        return self.whole()[index]

    def wait_for_first(self) -> None:
        """Wait until there is a picture, or until all is over; what has stopped it is raised."""
        with self._change:
            self._change.wait_for(lambda: self._made.done() or self._there > 0)
        if self._made.done():
            self.whole()

    def whole(self) -> GuidanceFrames:
        """Wait for all of it."""
        return self._made.result()

    def paths(self) -> Iterator[Path]:
        """The files of all pictures, as soon as all are there, and as long as nothing is stopped."""
        for path in self.whole().paths():
            self._check_goes_on()
            yield path

    def stop(self) -> None:
        """Give up what is not there yet, nothing of which stays, and the use of `paths`."""
        self._stopped = True
        self._made.cancel()

    def _on_picture(self, picture: Path | None) -> None:
        self._check_goes_on()
        if picture is not None:
            with self._change:
                self._staging, self._there = picture.parent, self._there + 1
                self._change.notify_all()

    def _check_goes_on(self) -> None:
        if self._stopped:
            raise CancelledError

    def _notify(self) -> None:
        with self._change:
            self._change.notify_all()
