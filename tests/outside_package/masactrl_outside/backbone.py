"""Models whose pictures come out as negatives, with a pipeline and a denoiser of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import ModelMixin as ModelMixin  # diffusers looks for it beside the classes that model_index.json names
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from masactrl_video.model.backbones.latents import LatentSpace
from masactrl_video.model.backbones.unet.backbone import UNetBackbone
from masactrl_video.model.backbones.unet.files import UNetFiles


class NegativePipeline(StableDiffusionPipeline):
    """Named in model_index.json."""


class NegativeUNet(UNet2DConditionModel):
    """Named in unet/config.json."""


class NegativeLatents(LatentSpace):
    """White is black there."""

    def decode(self, vae: torch.nn.Module, latents: torch.Tensor) -> torch.Tensor:
        """The negative."""
        return -super().decode(vae, latents)


class NegativeFiles(UNetFiles):
    """As Stable Diffusion's, with other classes."""

    def pipeline(self, class_name: str) -> type[NegativePipeline]:
        """The only one."""
        return NegativePipeline

    def networks(self, pipeline: type[StableDiffusionPipeline]) -> Mapping[str, type[torch.nn.Module]]:
        """The same parts, with another denoiser."""
        return {**super().networks(pipeline), "unet": NegativeUNet}

    def pipeline_in(self, name: str, path: Path) -> str | None:
        """They come as folders alone."""
        return None


class NegativeBackbone(UNetBackbone):
    """A `masactrl_video.model.backbones.base.Backbone`."""

    title = "negatives"
    pipelines = ("NegativePipeline",)
    denoisers = ("NegativeUNet",)
    files = NegativeFiles()

    def latents(self, pipe: StableDiffusionPipeline) -> LatentSpace:
        """Of Stable Diffusion, but for the decoding."""
        return NegativeLatents(**vars(super().latents(pipe)))
