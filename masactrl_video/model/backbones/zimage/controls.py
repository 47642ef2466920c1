"""ControlNets of Z-Image, and what they make of a batch of control images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ZImageControlNetModel, ZImageTransformer2DModel
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import LoadedModel
from masactrl_video.model.backbones.controls import ControlNetwork, NetworkChoice
from masactrl_video.model.backbones.joint.controls import PreparedPictures, as_latents, load_network
from masactrl_video.model.backbones.latents import LatentSpace
from masactrl_video.model.backbones.zimage.attention import TITLE


@dataclass(frozen=True)
class ZImageControlNetwork(ControlNetwork):
    """One ControlNet, which shares the transformer's embedders and refiners."""

    module: ZImageControlNetModel


def load_control(choice: NetworkChoice, transformer: ZImageTransformer2DModel) -> ZImageControlNetwork:
    """See `Backbone.load_control`."""
    shape = ("dim", "n_heads", "n_kv_heads", "n_refiner_layers")
    module: ZImageControlNetModel = load_network(
        choice, ZImageControlNetModel, TITLE, transformer, shape, in_one_file=True
    )
    if max(module.config.control_layers_places) >= len(transformer.layers):
        raise UserError(f"network {choice.name!r}: it steers more layers than this model has; take one for this model")
    shared = ZImageControlNetModel.from_transformer(module, transformer)
    return ZImageControlNetwork(choice.guidance, shared, choice.scale, choice.start, choice.end)


def prepare_controls(model: LoadedModel, space: LatentSpace, pictures: Sequence[NDArray[np.uint8]]) -> PreparedPictures:
    """See `Backbone.prepare_controls`: latents, with empty channels for the networks that can inpaint."""
    prepared: list[tuple[ControlNetwork, torch.Tensor]] = []
    for network, frames in zip(model.networks, pictures, strict=True):
        assert isinstance(network, ZImageControlNetwork)
        latents = as_latents(model, space, frames)
        empty = network.module.config.control_in_dim - latents.shape[1]
        prepared.append((network, F.pad(latents, (0, 0, 0, 0, 0, empty)).unsqueeze(2)))
    return PreparedPictures(tuple(prepared))


def residuals(
    controls: PreparedPictures,
    latents: list[torch.Tensor],
    left: torch.Tensor,
    captions: list[torch.Tensor],
    step: int,
    num_steps: int,
) -> dict[int, torch.Tensor] | None:
    """Number of a layer → what is added behind it, for a call with these latents, times and captions; None: nothing."""
    sums: dict[int, torch.Tensor] = {}
    for network, pictures in controls.acting(step, num_steps):
        branches = len(latents) // len(pictures)
        own = list(pictures.repeat(branches, *[1] * (pictures.ndim - 1)).unbind())
        found = network.module(latents, left, captions, own, conditioning_scale=network.scale)
        for layer, states in found.items():
            sums[layer] = sums[layer] + states if layer in sums else states
    return sums or None
