"""The model that ships with the package knows one cartoon world; pictures and words of others are told from it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from masactrl_video.demo.world.caption import unlearnt_words
from masactrl_video.demo.world.identity import SMALL_WORLD
from masactrl_video.settings.presets import shortened
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


def tell_unlearnt(prompts: Iterable[tuple[str, str]]) -> None:
    """Warn of words that the demo model cannot follow, because it has not learnt them.

    Args:
        prompts: what each is called, and its text; a word that comes again is told once.
    """
    told: set[str] = set()
    for name, text in prompts:
        words = [word for word in unlearnt_words(text, SMALL_WORLD) if word not in told]
        told.update(words)
        if words:
            logger.warning(
                "%s: the demo model has not learnt: %s; it has learnt %s, in %s",
                name,
                shortened(", ".join(words)),
                ", ".join(SMALL_WORLD.species),
                ", ".join(SMALL_WORLD.colours),
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
