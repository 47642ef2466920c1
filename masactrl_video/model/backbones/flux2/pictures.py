"""Guidance of FLUX.2, which has no ControlNets: the model itself reads its pictures, as reference pictures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from diffusers import AutoencoderKL, Flux2Transformer2DModel
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import LoadedModel
from masactrl_video.model.backbones.controls import ControlNetwork, NetworkChoice
from masactrl_video.model.backbones.flux2.attention import TITLE
from masactrl_video.model.backbones.flux2.references import (
    Layers,
    beside,
    extracted,
    reference_ids,
    takes_references,
)
from masactrl_video.model.backbones.joint.controls import PreparedPictures, as_pixels
from masactrl_video.model.backbones.joint.packing import pack
from masactrl_video.model.backbones.latents import LatentSpace
from masactrl_video.model.offload import execution_device

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReferencePictures(ControlNetwork):
    """A kind of guidance that the model itself reads: there is no network, and `module` does nothing."""


@dataclass(frozen=True)
class Behind:
    """What stands behind a picture's own tokens in one call, and what comes along with it."""

    tokens: Sequence[torch.Tensor]
    """Of each reference picture, (frames, tokens, channels)."""
    places: Sequence[torch.Tensor]
    """(tokens, 4) of each."""
    kept: dict[str, object]
    """Arguments that hand keys and values of references to the network."""


def load_control(choice: NetworkChoice) -> ControlNetwork:
    """See `Backbone.load_control`.

    Raises:
        UserError: a network, of which there are none.
    """
    if choice.kind != "reference":
        raise UserError(
            f"{choice.kind} {choice.name!r}: diffusers has no control networks for {TITLE}, which can read the same "
            f"pictures as reference pictures: give --reference-picture {choice.guidance} instead"
        )
    logger.info(
        "guidance %s: %s reads its pictures as reference pictures, one beside each frame; name them in the prompt",
        *(choice.guidance, TITLE),
    )
    return ReferencePictures(choice.guidance, torch.nn.Identity(), choice.scale, choice.start, choice.end)


def prepare_controls(model: LoadedModel, space: LatentSpace, pictures: Sequence[NDArray[np.uint8]]) -> PreparedPictures:
    """See `Backbone.prepare_controls`: the pictures as the autoencoder has them."""
    latents = [_latents(model, space, frames) for frames in pictures]
    return PreparedPictures(tuple(zip(model.networks, latents, strict=True)))


@torch.no_grad()
def _latents(model: LoadedModel, space: LatentSpace, frames: NDArray[np.uint8]) -> torch.Tensor:
    """(frames, channels, height, width), each picture alone and laid out as in diffusers' pipeline, to the last bit."""
    vae = cast(AutoencoderKL, model.pipe.components["vae"])
    pixels = as_pixels(frames).to(execution_device(vae), vae.dtype)
    alone = [pixels[number : number + 1] for number in range(len(pixels))]
    return torch.cat([space.encode(vae, one, model.dtype) for one in alone])


def behind(
    model: LoadedModel,
    transformer: Flux2Transformer2DModel,
    controls: PreparedPictures | None,
    frames: int,
    step: int,
    num_steps: int,
) -> Behind:
    """What a call on so many frames has of references: the kept ones come first, then those of the guidance.

    klein-kv lets references see themselves alone, and is handed their keys and values. They are made anew at each
    step: to keep those of every frame in work would take the memory of as many sources.
    """
    shown = [] if controls is None else [latents for _, latents in controls.acting(step, num_steps)]
    first = model.references.pictures + 1
    if not takes_references(transformer):
        places = [reference_ids(latents, number) for number, latents in enumerate(shown, first)]
        return Behind([pack(latents) for latents in shown], places, {})
    parts = [model.references.layers] if model.references.pictures else []
    parts += [extracted(transformer, latents, number) for number, latents in enumerate(shown, first)]
    if not parts:
        return Behind([], [], {})
    return Behind([], [], dict(beside(transformer, _side_by_side(transformer, parts, frames), frames)))


def _side_by_side(transformer: Flux2Transformer2DModel, parts: Sequence[Layers], frames: int) -> Layers:
    """References one after the other, for so many frames."""
    if len(parts) == 1:
        return parts[0]

    def together(states: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.cat([one.to(transformer.dtype).expand(frames, -1, -1, -1) for one in states], dim=1)

    return tuple(
        (together([key for key, _ in layer]), together([value for _, value in layer]))
        for layer in zip(*parts, strict=True)
    )
