"""A loaded model: a diffusers pipeline, its ControlNets and T2I-Adapters, and what is read off them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from masactrl_video.model.backbones.base import Backbone
from masactrl_video.model.backbones.registry import backbone_of
from masactrl_video.model.backbones.steps import StepClock
from masactrl_video.model.control_networks import GuidanceNetwork
from masactrl_video.model.offload import execution_device


@dataclass(frozen=True)
class DiffusionModel:
    """The parts that denoising needs. `pipe` is a loaded Stable Diffusion pipeline (1.x, 2.x or XL)."""

    pipe: Any
    networks: tuple[GuidanceNetwork, ...] = ()
    """ControlNets and T2I-Adapters in use, in the order of the guidance."""
    preview: AutoencoderTiny | None = None
    """A tiny decoder (TAESD), for pictures that need not be exact."""
    clock: StepClock = field(default_factory=StepClock, repr=False, compare=False)
    """The denoising step in progress: set by whoever denoises, read by attention."""

    @property
    def backbone(self) -> Backbone:
        """What knows the model's architecture."""
        return backbone_of(self.pipe)

    @property
    def denoiser(self) -> Any:
        """The noise predictor."""
        return self.backbone.denoiser(self.pipe)

    @property
    def unet(self) -> Any:
        """The noise predictor, by its name in Stable Diffusion."""
        return self.denoiser

    @property
    def vae(self) -> AutoencoderKL:
        """The autoencoder between pictures and latents."""
        vae: AutoencoderKL = self.pipe.vae
        return vae

    @property
    def decoder(self) -> AutoencoderKL | AutoencoderTiny:
        """What makes pictures of latents."""
        return self.preview or self.vae

    @property
    def device(self) -> torch.device:
        """Where the denoiser computes."""
        return execution_device(self.denoiser)

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the denoiser."""
        dtype: torch.dtype = self.denoiser.dtype
        return dtype

    @property
    def vae_scale_factor(self) -> int:
        """Picture side divided by latent side."""
        factor: int = 2 ** (len(self.vae.config.block_out_channels) - 1)
        return factor

    @property
    def size_factor(self) -> int:
        """Width and height of a picture must be multiples of this."""
        return math.lcm(self.vae_scale_factor, *(network.size_factor for network in self.networks))

    @property
    def native_area_px(self) -> int:
        """Area of the pictures that the model was trained on."""
        height_px, width_px = self.native_size_px
        return height_px * width_px

    @property
    def native_size_px(self) -> tuple[int, int]:
        """Height and width of the pictures that the model was trained on."""
        height, width = self.backbone.native_latent_size(self.denoiser)
        return height * self.vae_scale_factor, width * self.vae_scale_factor

    def latent_size(self, height_px: int, width_px: int) -> tuple[int, int]:
        """Height and width of the latents of a picture."""
        return height_px // self.vae_scale_factor, width_px // self.vae_scale_factor
