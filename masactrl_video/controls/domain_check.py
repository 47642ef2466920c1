"""The model that ships with the package knows one cartoon world; a picture of anything else is told from it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from masactrl_video.video.fit import plan_fit

if TYPE_CHECKING:
    from masactrl_video.model.diffusion import DiffusionModel

logger = logging.getLogger(__name__)

# Measured at the model's own size: 700 frames of the world (drawn at 128 and at 512 px) come back from its autoencoder
# at 25.4 to 32.6 dB, 200 of them after JPEG of quality 40 at 24.0 or more; 160 frames of 8 real clips and 3 photos at
# 22.6 dB at most. Frames of the world enlarged from 64 px fall under it in part (22.9), and a plain green or blue
# surface stays above: both are in the world's colours, not in its sharpness.
_LOWEST_DB = 24.0


def hint_if_foreign(model: DiffusionModel, picture: NDArray[np.uint8], path: Path) -> None:
    """Say so where a picture is not of the cartoon world that the demo model knows, and what to take instead.

    Args:
        model: the demo model.
        picture: RGB (height, width, 3) of any size, as it was given.
        path: where it is from.
    """
    if reconstruction_db(model, picture) < _LOWEST_DB:
        logger.info(
            "%s: not a picture of the cartoon world, which is all that the demo model knows; for real pictures take "
            "another preset, e.g. --preset sd15-controlnet",
            path,
        )


def reconstruction_db(model: DiffusionModel, picture: NDArray[np.uint8]) -> float:
    """What is left of a picture after the model's autoencoder, at the size that it was trained at. PSNR in dB."""
    import cv2  # a clip is opened without these

    from masactrl_video.model.sampling.latents import decode_latents, encode_picture

    height, width = picture.shape[:2]
    fit = plan_fit(
        width,
        height,
        mode="crop",
        target_width_px=None,
        target_height_px=None,
        size_factor=model.size_factor,
        native_area_px=model.native_area_px,
    )
    fitted = fit.apply(picture)
    return float(cv2.PSNR(fitted, decode_latents(model, encode_picture(model, fitted))[0]))
