"""A controlled denoising step on shapes without values: what it computes and holds is counted without computing it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from shapes import FAMILIES

from masactrl_video.attention.plan import ControlPlan, plan_control
from masactrl_video.attention.recorded import MemorySource, StepRecord
from masactrl_video.attention.use import control_attention
from masactrl_video.model.backbones.branches import GUIDED
from masactrl_video.model.backbones.unet.controls import GuidanceNetwork, PreparedGuidance
from masactrl_video.model.backbones.unet.prompt_once import reading_prompts_once
from masactrl_video.model.backbones.unet.prompts import UNetText
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.sampling.denoise import predict_noise

META = torch.device("meta")
TIMESTEP = 500.0


def empty_networks(name: str) -> tuple[UNet2DConditionModel, ControlNetModel, AutoencoderKL]:
    """UNet, ControlNet and VAE of SD-1.5 or SDXL."""
    family = FAMILIES[name]
    with init_empty_weights():
        unet = UNet2DConditionModel(**family.unet, up_block_types=family.up_block_types)
        controlnet = ControlNetModel(**{key: value for key, value in family.unet.items() if key != "sample_size"})
        return unet, controlnet, AutoencoderKL(**family.vae)


class StableDiffusionPipeline(SimpleNamespace):
    """As much of a pipeline as a measurement needs: it is known by the name of its class."""

    @property
    def components(self) -> dict[str, Any]:
        """Its parts by name."""
        return vars(self)


@dataclass(frozen=True)
class EmptyStep:
    """One step with classifier-free guidance and a ControlNet, all of whose tensors are empty."""

    unet: UNet2DConditionModel
    controlnet: ControlNetModel
    plan: ControlPlan
    source: MemorySource
    latents: torch.Tensor
    """(frames, channels, height, width)."""
    pictures: torch.Tensor
    """Guidance of the frames."""
    text: UNetText

    @classmethod
    def of(
        cls,
        unet: UNet2DConditionModel,
        controlnet: ControlNetModel,
        latent_size: tuple[int, int],
        factor: int,
        masa_layer: int,
        frames: int = 1,
        dtype: torch.dtype = torch.float32,
    ) -> EmptyStep:
        """For latents of that height and width, and pictures larger by `factor`."""
        unet, controlnet = unet.to(META, dtype), controlnet.to(META, dtype)
        plan = plan_control(unet, 1, masa_step=0, masa_layer=masa_layer)
        height, width = latent_size
        latents = torch.empty(frames, unet.config.in_channels, height, width, device=META, dtype=dtype)
        pictures = torch.empty(frames, 3, height * factor, width * factor, device=META, dtype=dtype)
        return cls(unet, controlnet, plan, _source(plan, latent_size, dtype), latents, pictures, _text(unet, dtype))

    @property
    def cache_bytes(self) -> int:
        """Keys and values of the source at this step."""
        record = self.source.read(0)
        return sum(states.nbytes for states in (*record.keys.values(), *record.values.values()))

    def plain(self) -> None:
        """As diffusers' pipelines do it: every row is a picture of its own, at every step."""
        rows, arguments = self.latents.repeat(2, 1, 1, 1), self.text.for_frames(len(self.latents))
        pictures = self.pictures.repeat(2, 1, 1, 1)
        down, mid = self.controlnet(rows, TIMESTEP, controlnet_cond=pictures, return_dict=False, **arguments)
        residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
        self.unet(rows, TIMESTEP, return_dict=False, **arguments, **residuals)

    @contextmanager
    def ours(self) -> Iterator[Callable[[], Any]]:
        """Inside, the step against the source; what is there once for all steps is there already."""
        network = GuidanceNetwork("pose", self.controlnet)
        guidance = PreparedGuidance(((network, self.pictures),), (), (network.embed(self.pictures),))
        model = DiffusionModel(StableDiffusionPipeline(unet=self.unet))
        timestep = cast(torch.Tensor, TIMESTEP)

        def step() -> torch.Tensor:
            return predict_noise(model, self.latents, timestep, self.text, guidance, 0, 1)

        with ExitStack() as stack:
            for part in (self.unet, self.controlnet):
                stack.enter_context(reading_prompts_once(part, (self.text,)))
            stack.enter_context(control_attention(self.unet, self.source, self.plan))
            step()  # the prompt is read
            yield step


def _source(plan: ControlPlan, latent_size: tuple[int, int], dtype: torch.dtype) -> MemorySource:
    def states(layer: Any) -> torch.Tensor:
        height, width = layer.grid(latent_size)
        return torch.empty(2, height * width, layer.key_channels, device=META, dtype=dtype)

    keys, values = ({layer.name: states(layer) for layer in plan.layers} for _ in range(2))
    source = MemorySource(GUIDED, tuple(keys))
    source.add(TIMESTEP, StepRecord(keys, values))
    return source


def _text(unet: UNet2DConditionModel, dtype: torch.dtype) -> UNetText:
    def empty(*shape: int) -> torch.Tensor:
        return torch.empty(shape, device=META, dtype=dtype)

    hidden = empty(2, 77, unet.config.cross_attention_dim)
    if unet.config.addition_embed_type != "text_time":
        return UNetText(hidden)
    pooled = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
    return UNetText(hidden, empty(2, pooled), empty(2, 6))
