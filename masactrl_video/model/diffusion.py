"""A loaded model: a diffusers pipeline, its control networks, and what is read off them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from numpy.typing import NDArray

from masactrl_video.model.backbones.base import Backbone
from masactrl_video.model.backbones.controls import ControlNetwork, PreparedControls
from masactrl_video.model.backbones.latents import LatentSpace
from masactrl_video.model.backbones.parts import Pipeline, Placed, Tokenizer
from masactrl_video.model.backbones.references import JoinedReferences
from masactrl_video.model.backbones.registry import backbone_of
from masactrl_video.model.backbones.steps import StepClock
from masactrl_video.model.offload import execution_device


@dataclass(frozen=True)
class DiffusionModel:
    """The parts that denoising needs."""

    pipe: Pipeline
    """Of a family that is known (see `backbones`)."""
    networks: tuple[ControlNetwork, ...] = ()
    """Control networks in use, in the order of the guidance."""
    preview: AutoencoderTiny | None = None
    """A tiny decoder (TAESD), for pictures that need not be exact."""
    references: JoinedReferences = field(default_factory=JoinedReferences, repr=False)
    """Kept references that stand beside every picture which it makes."""
    clock: StepClock = field(default_factory=StepClock, repr=False, compare=False)
    """The denoising step in progress: set by whoever denoises, read by attention."""

    @property
    def backbone(self) -> Backbone:
        """What knows the model's architecture."""
        return backbone_of(self.pipe)

    @property
    def denoiser(self) -> torch.nn.Module:
        """The noise predictor."""
        return self.backbone.denoiser(self.pipe)

    @property
    def unet(self) -> torch.nn.Module:
        """The noise predictor, by its name in Stable Diffusion."""
        return self.denoiser

    @property
    def vae(self) -> AutoencoderKL:
        """The autoencoder between pictures and latents."""
        return self.pipe.components["vae"]

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
        return cast(Placed, self.denoiser).dtype

    @property
    def modules(self) -> list[torch.nn.Module]:
        """All its networks, each once."""
        parts = [*self.pipe.components.values(), *(network.module for network in self.networks), self.preview]
        return list({id(part): part for part in parts if isinstance(part, torch.nn.Module)}.values())

    @property
    def tokenizer(self) -> Tokenizer:
        """That of the prompt which the picture attends to."""
        return self.backbone.tokenizer(self.pipe)

    @property
    def latents(self) -> LatentSpace:
        """What its latents are like."""
        return self.backbone.latents(self.pipe)

    @property
    def vae_scale_factor(self) -> int:
        """Picture side divided by latent side."""
        return self.latents.downscale

    @property
    def size_factor(self) -> int:
        """Width and height of a picture must be multiples of this."""
        return math.lcm(self.latents.multiple_px, *(network.size_factor for network in self.networks))

    @property
    def native_area_px(self) -> int:
        """Area of the pictures that the model was trained on."""
        height_px, width_px = self.native_size_px
        return height_px * width_px

    @property
    def native_size_px(self) -> tuple[int, int]:
        """Height and width of the pictures that the model was trained on."""
        return self.latents.native_size_px

    def latent_size(self, height_px: int, width_px: int) -> tuple[int, int]:
        """Height and width of the latents of a picture."""
        return self.latents.shape((height_px, width_px))[1:]

    def prepare_controls(self, pictures: Sequence[NDArray[np.uint8]]) -> PreparedControls:
        """Control images of a batch, RGB (frames, height, width, 3) for each of the networks, ready for all steps."""
        return self.backbone.prepare_controls(self, pictures)
