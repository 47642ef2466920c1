"""A size without pictures, for a source that no clip follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.video.target_size import choose_size


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


def size_for(aspect_ratio: float, given: tuple[int, int] | None, model: DiffusionModel, where: str) -> tuple[int, int]:
    """Height and width to render at: as given (width, height), or of that shape and the model's area.

    Raises:
        UserError: a given side that is no multiple of what the model needs.
    """
    width, height = given or (None, None)
    try:
        width, height = choose_size(
            aspect_ratio, width, height, size_factor=model.size_factor, native_area_px=model.native_area_px
        )
    except UserError as error:
        raise UserError(f"{where}: size: {error}") from error
    return height, width
