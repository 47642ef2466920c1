"""Making a character of FLUX.2 klein-kv: what a picture offers as a reference, kept for every step, prompt and size."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from masactrl_video.controls.canvas import EmptyCanvas, size_for
from masactrl_video.controls.clip import read_fitted
from masactrl_video.errors import UserError
from masactrl_video.jobs.character_index import new_index
from masactrl_video.model.backbones.references import KeptReference
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.sampling.latents import decode_latents
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.characters.index import (
    MAX_FILE_BYTES,
    PICTURE_NAME,
    REFERENCE_NAME,
    ReferenceFacts,
)
from masactrl_video.sources.characters.store import Character, save_alone
from masactrl_video.sources.plan import plan_source
from masactrl_video.sources.reference import network_of
from masactrl_video.sources.source import GeneratedSource
from masactrl_video.video.fit import Fit
from masactrl_video.video.image_folder import read_image
from masactrl_video.video.png import png_bytes

logger = logging.getLogger(__name__)

_MOST_AREA_PX, _LEAST_SIDE_PX, _MOST_ASPECT = 1024 * 1024, 64, 8
"""Of a reference picture, as diffusers' pipelines of FLUX.2 take it: a larger one is scaled down."""


def save_reference(
    settings: Settings,
    model: DiffusionModel,
    root: Path,
    name: str,
    size_px: tuple[int, int],
    pictures: Sequence[NDArray[np.uint8]],
    pose: str | None,
    caption: str,
    words: Sequence[str],
    overwrite: bool,
) -> Character:
    """Keep the reference of the picture that `source_image` names, or of one that is generated from the prompt.

    Args:
        size_px: height and width of a generated picture.
        pictures: of a pose that guides it; RGB, of its size.

    Raises:
        UserError: a picture that is no reference.
    """
    picture = _given(settings, model) if settings.real_source else _generated(settings, model, size_px, pictures)
    kept = model.backbone.record_reference(model, picture)
    height, width = picture.shape[:2]
    logger.info(
        "reference: %d tokens in %d layers, %.1f MB, for every step, prompt and size",
        *(kept.tokens, len(kept.keys), kept.nbytes / 1e6),
    )
    if kept.nbytes > MAX_FILE_BYTES * 0.99:
        raise UserError(
            f"reference: {kept.nbytes / 1e9:.1f} GB are more than a character may have, "
            f"{MAX_FILE_BYTES / 1e9:.1f} GB; give a smaller --width and --height"
        )
    index = new_index(
        settings,
        name,
        kind="reference",
        prompt="" if settings.real_source else settings.prompt,
        size_px=(height, width),
        pose=pose,
        caption=caption,
        words=words,
        reference=_facts(model, kept),
    )
    return save_alone(root, index, {PICTURE_NAME: png_bytes(picture), REFERENCE_NAME: kept.to_bytes()}, overwrite)


def _facts(model: DiffusionModel, kept: KeptReference) -> ReferenceFacts:
    dtype = str(next(iter(kept.keys.values())).dtype).removeprefix("torch.")
    return ReferenceFacts(
        network=network_of(model), layers=len(kept.keys), tokens=kept.tokens, dtype=dtype, bytes=kept.nbytes
    )


def _given(settings: Settings, model: DiffusionModel) -> NDArray[np.uint8]:
    """The picture of its own size, but for what is over the model's multiples or too large, as diffusers takes it."""
    assert settings.source_image is not None
    picture = read_image(settings.source_image)
    height, width = picture.shape[:2]
    if min(height, width) < _LEAST_SIDE_PX or max(height, width) > _MOST_ASPECT * min(height, width):
        raise UserError(
            f"{settings.source_image}: a reference picture has sides of {_LEAST_SIDE_PX} px or more, one at "
            f"most {_MOST_ASPECT} times the other; it is {width}x{height}"
        )
    if settings.width is not None and settings.height is not None:
        size_px = size_for(width / height, (settings.width, settings.height), model, "source make")
        return read_fitted(settings, settings.source_image, size_px)
    scale = min(1.0, math.sqrt(_MOST_AREA_PX / (width * height)))
    scaled = (int(width * scale), int(height * scale))
    factor = model.size_factor
    fit = Fit("crop", width, height, *scaled, *(side // factor * factor for side in scaled))
    logger.info("%s: %s", settings.source_image, fit.describe())
    return fit.apply(picture)


def _generated(
    settings: Settings, model: DiffusionModel, size_px: tuple[int, int], pictures: Sequence[NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """The picture that the model draws of the prompt."""
    planned = plan_source(settings, model, EmptyCanvas(size_px), [[picture] for picture in pictures])
    assert isinstance(planned.source, GeneratedSource)
    walk = planned.source.begin()
    for _ in walk.steps:
        pass
    assert walk.final_latents is not None
    picture: NDArray[np.uint8] = decode_latents(model, walk.final_latents)[0]
    return picture
