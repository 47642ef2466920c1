"""The brightness of each frame as its control image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray


class Brightness:
    """A `masactrl_video.controls.added.Control`."""

    provenance = {"version": 1}  # noqa: RUF012, it is never changed

    def pictures(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """Grey pictures, frame by frame."""
        for frame in frames:
            yield np.repeat(frame.max(axis=2, keepdims=True), 3, axis=2)
