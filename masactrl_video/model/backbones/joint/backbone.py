"""What backbones of transformers on a flow answer alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from diffusers import AutoencoderKL, ModelMixin

from masactrl_video.model.backbones.base import AttentionLayer, Backbone, LoadedModel
from masactrl_video.model.backbones.branches import GUIDED, UNGUIDED, Branch
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.joint.files import TransformerFiles
from masactrl_video.model.backbones.joint.layers import word_layers
from masactrl_video.model.backbones.joint.packing import PATCH
from masactrl_video.model.backbones.latents import LatentSpace
from masactrl_video.model.backbones.parts import Pipeline, Tokenizer
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.sampling.flow import flow_schedule
from masactrl_video.settings.names import SchedulerName


class TransformerBackbone(Backbone):
    """The `Backbone` of a pipeline whose denoiser is its `transformer`, but for what differs from family to family."""

    denoiser_part = "transformer"
    files: TransformerFiles
    sigmas_are_even = True
    """Whether its pipeline gives the scheduler evenly spaced noise levels; else that takes its own."""

    def denoiser(self, pipe: Pipeline) -> ModelMixin:
        """The transformer."""
        return pipe.components["transformer"]

    def tokenizer(self, pipe: Pipeline) -> Tokenizer:
        """The only one, or the first."""
        return cast(Tokenizer, pipe.components["tokenizer"])

    def latents(self, pipe: Pipeline) -> LatentSpace:
        """As the autoencoder and the side of a token have them."""
        vae = cast(AutoencoderKL, pipe.components["vae"])
        factor: int = 2 ** (len(vae.config.block_out_channels) - 1)
        channels: int = vae.config.latent_channels
        return LatentSpace(channels, factor, factor * PATCH, self.native_size_px(pipe))

    def native_size_px(self, pipe: Pipeline) -> tuple[int, int]:
        """Height and width of the pictures that the model was trained on."""
        side: int = cast(AutoencoderKL, pipe.components["vae"]).config.sample_size
        return side, side

    def map_layers(self, layers: Sequence[AttentionLayer], divisor: int) -> tuple[AttentionLayer, ...]:
        """All in which the picture reads the text."""
        return word_layers(layers, divisor, self.title)

    def branches(self, denoiser: torch.nn.Module, guidance_scale: float) -> Sequence[Branch]:
        """Two with real guidance."""
        return GUIDED if guidance_scale > 1 else UNGUIDED

    def schedule(
        self, model: LoadedModel, name: SchedulerName, num_inference_steps: int, size_px: tuple[int, int]
    ) -> Schedule:
        """The model's own noise levels, which may depend on the size."""
        own, space = model.pipe.components["scheduler"], self.latents(model.pipe)
        self.files.check_scheduler(self.title, type(own).__name__)
        _, height, width = space.shape(size_px)
        tokens = (height // PATCH) * (width // PATCH)
        config = cast(Schedule, own).config
        return flow_schedule(config, model.device, name, num_inference_steps, tokens, even=self.sigmas_are_even)


def by_branch(out: torch.Tensor, text: TextCondition) -> torch.Tensor:
    """(branches x frames, channels, height, width) → (branches, frames, channels, height, width)."""
    return out.reshape(text.branches, -1, *out.shape[1:])
