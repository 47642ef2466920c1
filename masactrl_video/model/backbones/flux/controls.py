"""ControlNets of FLUX, and what they make of a batch of control images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import FluxControlNetModel, FluxTransformer2DModel
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import LoadedModel
from masactrl_video.model.backbones.controls import ControlNetwork, NetworkChoice
from masactrl_video.model.backbones.joint.controls import PreparedPictures, as_latents, as_pixels, load_network
from masactrl_video.model.backbones.joint.packing import pack
from masactrl_video.model.backbones.latents import LatentSpace
from masactrl_video.model.offload import execution_device

_UNION = {"canny": 0, "depth": 2, "pose": 4}
"""Numbers by which the networks for several kinds of pictures (InstantX, Shakker-Labs) know them."""
_SHAPE = ("in_channels", "joint_attention_dim", "pooled_projection_dim", "num_attention_heads", "attention_head_dim")


@dataclass(frozen=True)
class FluxControlNetwork(ControlNetwork):
    """One ControlNet."""

    module: FluxControlNetModel

    @property
    def number(self) -> int | None:
        """Of its kind of pictures, for a network that knows several."""
        return _UNION[self.name] if self.module.union else None


def load_control(choice: NetworkChoice, transformer: FluxTransformer2DModel) -> FluxControlNetwork:
    """See `Backbone.load_control`."""
    module: FluxControlNetModel = load_network(choice, FluxControlNetModel, "FLUX.1", transformer, _SHAPE)
    if module.union and choice.guidance not in _UNION:
        raise UserError(
            f"network {choice.name!r}: a ControlNet for several kinds of pictures is asked for {', '.join(_UNION)} "
            f"here, got {choice.guidance!r}"
        )
    return FluxControlNetwork(choice.guidance, module, choice.scale, choice.start, choice.end)


@torch.no_grad()
def prepare_controls(model: LoadedModel, space: LatentSpace, pictures: Sequence[NDArray[np.uint8]]) -> PreparedPictures:
    """See `Backbone.prepare_controls`: packed latents, or pixels for a network that reads those."""
    prepared: list[tuple[ControlNetwork, torch.Tensor]] = []
    for network, frames in zip(model.networks, pictures, strict=True):
        assert isinstance(network, FluxControlNetwork)
        if network.module.input_hint_block is not None:
            read = as_pixels(frames).to(execution_device(network.module), network.module.dtype)
        else:
            read = pack(as_latents(model, space, frames))
        prepared.append((network, read))
    return PreparedPictures(tuple(prepared))


def residuals(
    controls: PreparedPictures,
    transformer: FluxTransformer2DModel,
    of_prompt: Mapping[str, object],
    guidance: torch.Tensor | None,
    step: int,
    num_steps: int,
) -> dict[str, list[torch.Tensor]]:
    """Keyword arguments for the transformer's calls: what is added behind each of its blocks.

    Args:
        of_prompt: arguments of its call for the prompt alone.
        guidance: scale for each frame, which a ControlNet may read where the transformer does not.
    """
    lengths = {
        "controlnet_block_samples": len(transformer.transformer_blocks),
        "controlnet_single_block_samples": len(transformer.single_transformer_blocks),
    }
    sums: dict[str, list[torch.Tensor]] = {}
    for network, pictures in controls.acting(step, num_steps):
        assert isinstance(network, FluxControlNetwork)
        module, mode = network.module, None
        if network.number is not None:
            mode = torch.full((len(pictures), 1), network.number, device=pictures.device, dtype=torch.long)
        found = module(
            controlnet_cond=pictures,
            controlnet_mode=mode,
            conditioning_scale=network.scale,
            guidance=guidance if module.config.guidance_embeds else None,
            **of_prompt,
        )
        for (name, blocks), samples in zip(lengths.items(), found, strict=True):
            if samples is not None and blocks:
                own = _by_block(samples, blocks, repeats=module.input_hint_block is not None)
                sums[name] = [a + b for a, b in zip(sums[name], own, strict=True)] if name in sums else own
    return sums


def _by_block(samples: Sequence[torch.Tensor], blocks: int, *, repeats: bool) -> list[torch.Tensor]:
    """What belongs behind each block of a transformer that has more of them, by diffusers' rule."""
    stretch = -(-blocks // len(samples))
    return [samples[block % len(samples) if repeats else block // stretch] for block in range(blocks)]
