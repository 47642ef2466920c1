"""ControlNets of Stable Diffusion 3 and 3.5, and what they make of a batch of control images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import SD3ControlNetModel, SD3Transformer2DModel
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import LoadedModel
from masactrl_video.model.backbones.controls import ControlNetwork, NetworkChoice
from masactrl_video.model.backbones.joint.controls import PreparedPictures, as_latents, load_network
from masactrl_video.model.backbones.latents import LatentSpace
from masactrl_video.model.backbones.sd3.attention import TITLE

_SHAPE = ("in_channels", "patch_size", "pooled_projection_dim", "num_attention_heads", "attention_head_dim")


@dataclass(frozen=True)
class SD3ControlNetwork(ControlNetwork):
    """One ControlNet."""

    module: SD3ControlNetModel


def load_control(choice: NetworkChoice, transformer: SD3Transformer2DModel) -> SD3ControlNetwork:
    """See `Backbone.load_control`."""
    module: SD3ControlNetModel = load_network(choice, SD3ControlNetModel, TITLE, transformer, _SHAPE)
    if module.config.extra_conditioning_channels:
        raise UserError(
            f"network {choice.name!r}: it reads a mask beside the picture (inpainting), which is not supported; take "
            "one that reads a picture alone"
        )
    if module.config.joint_attention_dim not in (None, transformer.config.joint_attention_dim):
        raise UserError(f"network {choice.name!r}: it was made for other texts; take one for this model")
    return SD3ControlNetwork(choice.guidance, module, choice.scale, choice.start, choice.end)


def prepare_controls(model: LoadedModel, space: LatentSpace, pictures: Sequence[NDArray[np.uint8]]) -> PreparedPictures:
    """See `Backbone.prepare_controls`: latents, without their shift for the networks that know none."""
    prepared: list[tuple[ControlNetwork, torch.Tensor]] = []
    for network, frames in zip(model.networks, pictures, strict=True):
        assert isinstance(network, SD3ControlNetwork)
        read = as_latents(model, space, frames)
        if network.module.config.force_zeros_for_pooled_projection:
            config = model.pipe.components["vae"].config  # type: ignore[attr-defined]
            read = read + config.shift_factor * config.scaling_factor
        prepared.append((network, read))
    return PreparedPictures(tuple(prepared))


def residuals(
    controls: PreparedPictures,
    transformer: SD3Transformer2DModel,
    arguments: Mapping[str, torch.Tensor],
    branches: int,
    step: int,
    num_steps: int,
) -> list[torch.Tensor] | None:
    """What is added behind each block of the transformer's call with these `arguments`; None: nothing."""
    sums: list[torch.Tensor] | None = None
    for network, pictures in controls.acting(step, num_steps):
        module: SD3ControlNetModel = network.module
        latents, pooled = arguments["hidden_states"], arguments["pooled_projections"]
        found = module(
            hidden_states=transformer.pos_embed(latents) if module.pos_embed is None else latents,
            controlnet_cond=pictures.repeat(branches, 1, 1, 1),
            conditioning_scale=network.scale,
            encoder_hidden_states=None if module.context_embedder is None else arguments["encoder_hidden_states"],
            pooled_projections=pooled * 0 if module.config.force_zeros_for_pooled_projection else pooled,
            timestep=arguments["timestep"],
            return_dict=False,
        )[0]
        blocks = len(transformer.transformer_blocks)
        own = [found[int(block / (blocks / len(found)))] for block in range(blocks)]  # by diffusers' rule
        sums = own if sums is None else [a + b for a, b in zip(sums, own, strict=True)]
    return sums
