"""ControlNets of FLUX, and what they make of a batch of control images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from diffusers import FluxControlNetModel, FluxPipeline, FluxTransformer2DModel
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import LoadedModel
from masactrl_video.model.backbones.controls import ControlNetwork, NetworkChoice
from masactrl_video.model.backbones.flux.packing import pack
from masactrl_video.model.backbones.flux.prompts import FluxText
from masactrl_video.model.backbones.latents import LatentSpace
from masactrl_video.model.loading.hub import fetch_network
from masactrl_video.model.loading.loading import loading
from masactrl_video.model.loading.location import local_path
from masactrl_video.model.loading.weights import check_complete, load_part
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


@dataclass(frozen=True)
class PreparedFluxControls:
    """Control images of a batch of frames, ready for every denoising step."""

    networks: tuple[tuple[FluxControlNetwork, torch.Tensor], ...] = ()
    """Each with its pictures: packed latents (frames, tokens, channels), or pixels where it reads those."""

    def read(self) -> Sequence[tuple[FluxControlNetwork, tuple[torch.Tensor, ...]]]:
        """See `PreparedControls`."""
        return [(network, (pictures,)) for network, pictures in self.networks]


def load_control(choice: NetworkChoice, transformer: FluxTransformer2DModel) -> FluxControlNetwork:
    """See `Backbone.load_control`."""
    if choice.kind != "controlnet":
        raise UserError(f"{choice.kind} {choice.name!r}: FLUX.1 can have ControlNets alone (class FluxControlNetModel)")
    path = local_path(choice.name, choice.kind)
    if choice.config or (path is not None and path.is_file()):
        raise UserError(f"{choice.kind} {choice.name!r}: for FLUX.1, give its folder or a hub id")
    if path is not None and choice.revision:
        raise UserError(f"{choice.kind} {choice.name!r}: revision is for hub ids")
    with loading(choice.kind, choice.name):
        folder = path or fetch_network(choice.name, choice.kind, choice.revision, choice.variant)
        network: FluxControlNetModel = load_part(
            FluxControlNetModel, choice.kind, choice.name, folder, transformer.dtype, choice.variant
        )
        check_complete(choice.kind, choice.name, network)
    _check(choice, network, transformer)
    module = network.to(transformer.device).eval()
    return FluxControlNetwork(choice.guidance, module, choice.scale, choice.start, choice.end)


def _check(choice: NetworkChoice, network: FluxControlNetModel, transformer: FluxTransformer2DModel) -> None:
    for entry in _SHAPE:
        if network.config[entry] != transformer.config[entry]:
            raise UserError(
                f"network {choice.name!r}: it was made for another kind of model: its {entry} is "
                f"{network.config[entry]}, the model's {transformer.config[entry]}; take one for this model"
            )
    if network.union and choice.guidance not in _UNION:
        raise UserError(
            f"network {choice.name!r}: a ControlNet for several kinds of pictures is asked for {', '.join(_UNION)} "
            f"here, got {choice.guidance!r}"
        )


@torch.no_grad()
def prepare_controls(
    model: LoadedModel, space: LatentSpace, pictures: Sequence[NDArray[np.uint8]]
) -> PreparedFluxControls:
    """See `Backbone.prepare_controls`. Of what the autoencoder finds, the mean is taken: no noise is drawn."""
    vae = cast(FluxPipeline, model.pipe).vae
    prepared = []
    for network, frames in zip(model.networks, pictures, strict=True):
        assert isinstance(network, FluxControlNetwork)
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2) / 127.5 - 1
        if network.module.input_hint_block is not None:
            read = pixels.to(execution_device(network.module), network.module.dtype)
        else:
            pixels = pixels.to(execution_device(vae), vae.dtype)
            read = pack(torch.cat([space.encode(vae, pixel[None], model.dtype) for pixel in pixels]))
        prepared.append((network, read))
    return PreparedFluxControls(tuple(prepared))


def residuals(
    controls: PreparedFluxControls,
    transformer: FluxTransformer2DModel,
    arguments: dict[str, object],
    text: FluxText,
    frames: int,
    step: int,
    num_steps: int,
) -> dict[str, object]:
    """Keyword arguments for the transformer's call with these `arguments`: what is added behind each of its blocks."""
    lengths = {
        "controlnet_block_samples": len(transformer.transformer_blocks),
        "controlnet_single_block_samples": len(transformer.single_transformer_blocks),
    }
    sums: dict[str, list[torch.Tensor]] = {}
    for network, pictures in controls.networks:
        if not network.acts_at(step, num_steps):
            continue
        module, rows = network.module, text.branches * frames
        mode = None
        if network.number is not None:
            mode = torch.full((rows, 1), network.number, device=pictures.device, dtype=torch.long)
        found = module(
            controlnet_cond=pictures.repeat(text.branches, *[1] * (pictures.ndim - 1)),
            controlnet_mode=mode,
            conditioning_scale=network.scale,
            guidance=text.guidance_rows(module, frames),
            **arguments,
        )
        for (name, blocks), samples in zip(lengths.items(), found, strict=True):
            if samples is not None and blocks:
                own = _by_block(samples, blocks, repeats=module.input_hint_block is not None)
                sums[name] = [a + b for a, b in zip(sums[name], own, strict=True)] if name in sums else own
    return dict(sums)


def _by_block(samples: Sequence[torch.Tensor], blocks: int, *, repeats: bool) -> list[torch.Tensor]:
    """What belongs behind each block of a transformer that has more of them, by diffusers' rule."""
    stretch = -(-blocks // len(samples))
    return [samples[block % len(samples) if repeats else block // stretch] for block in range(blocks)]
