"""Where a source gets its size, and a real one its picture: a clip's frames, or an empty canvas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError


class SourceFrames(Protocol):
    """What planning a source asks of a clip."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width."""

    def frame(self, n: int) -> NDArray[np.uint8]:
        """The n-th frame, RGB (height, width, 3)."""


@dataclass(frozen=True)
class Canvas:
    """A size, where there is no clip."""

    size_px: tuple[int, int]
    """Height and width."""

    def frame(self, n: int) -> NDArray[np.uint8]:
        """There are no frames.

        Raises:
            UserError: always.
        """
        raise UserError("source clip: there is no clip to take a frame from; give a prompt or a picture")
