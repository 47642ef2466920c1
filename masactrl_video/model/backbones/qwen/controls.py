"""ControlNets of Qwen-Image, and what they make of a batch of control images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import QwenImageControlNetModel, QwenImageTransformer2DModel
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import LoadedModel
from masactrl_video.model.backbones.controls import ControlNetwork, NetworkChoice
from masactrl_video.model.backbones.joint.controls import PreparedPictures, as_latents, load_network
from masactrl_video.model.backbones.joint.packing import pack
from masactrl_video.model.backbones.latents import LatentSpace
from masactrl_video.model.backbones.qwen.attention import TITLE

_SHAPE = ("in_channels", "joint_attention_dim", "num_attention_heads", "attention_head_dim")


@dataclass(frozen=True)
class QwenControlNetwork(ControlNetwork):
    """One ControlNet, for one or several kinds of pictures."""

    module: QwenImageControlNetModel


def load_control(choice: NetworkChoice, transformer: QwenImageTransformer2DModel) -> QwenControlNetwork:
    """See `Backbone.load_control`."""
    module: QwenImageControlNetModel = load_network(choice, QwenImageControlNetModel, TITLE, transformer, _SHAPE)
    if module.config.extra_condition_channels:
        raise UserError(
            f"network {choice.name!r}: it reads a mask beside the picture (inpainting), which is not supported; take "
            "one that reads a picture alone"
        )
    return QwenControlNetwork(choice.guidance, module, choice.scale, choice.start, choice.end)


def prepare_controls(model: LoadedModel, space: LatentSpace, pictures: Sequence[NDArray[np.uint8]]) -> PreparedPictures:
    """See `Backbone.prepare_controls`: packed latents."""
    read = [(net, pack(as_latents(model, space, frames))) for net, frames in zip(model.networks, pictures, strict=True)]
    return PreparedPictures(tuple(read))


def residuals(
    controls: PreparedPictures,
    transformer: QwenImageTransformer2DModel,
    arguments: Mapping[str, object],
    step: int,
    num_steps: int,
) -> list[torch.Tensor] | None:
    """What is added behind each block of the transformer's call with these `arguments`; None: nothing."""
    sums: list[torch.Tensor] | None = None
    for network, pictures in controls.acting(step, num_steps):
        found = network.module(controlnet_cond=pictures, conditioning_scale=network.scale, **arguments)
        blocks = len(transformer.transformer_blocks)
        stretch = -(-blocks // len(found))  # by diffusers' rule
        own = [found[block // stretch] for block in range(blocks)]
        sums = own if sums is None else [a + b for a, b in zip(sums, own, strict=True)]
    return sums
