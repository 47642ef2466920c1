"""A size without pictures, for a source that no clip follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError


@dataclass(frozen=True)
class EmptyCanvas:
    """A size, where there is no clip."""

    size_px: tuple[int, int]
    """Height and width."""

    def frame(self, n: int) -> NDArray[np.uint8]:
        """There are no frames.

        Raises:
            UserError: always.
        """
        raise UserError("source clip: there is no clip to take a frame from; give a prompt or a picture")
