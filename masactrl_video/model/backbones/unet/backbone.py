"""Stable Diffusion 1.x, 2.x and XL: a UNet whose blocks have self-attention and, behind it, cross-attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import cast

import numpy as np
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from numpy.typing import NDArray
from pydantic import JsonValue

from masactrl_video.model.backbones.base import (
    AttentionLayer,
    Backbone,
    LoadedModel,
    PictureAttention,
    TextAttention,
)
from masactrl_video.model.backbones.branches import GUIDED, UNGUIDED, Branch
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.controls import ControlNetwork, NetworkChoice, PreparedControls
from masactrl_video.model.backbones.latents import LatentSpace
from masactrl_video.model.backbones.parts import Tokenizer
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.backbones.steps import DenoiserCall
from masactrl_video.model.backbones.unet.attention import processors_for
from masactrl_video.model.backbones.unet.calls import watch_calls
from masactrl_video.model.backbones.unet.common_part import common_part_once
from masactrl_video.model.backbones.unet.controls import (
    GuidanceNetwork,
    PreparedGuidance,
    controlnets,
    prepare_guidance,
)
from masactrl_video.model.backbones.unet.deep_features import keeping_deep_features, outermost_alone, residuals_taken
from masactrl_video.model.backbones.unet.files import UNetFiles
from masactrl_video.model.backbones.unet.layers import mask_layers, self_attention_layers
from masactrl_video.model.backbones.unet.load_controls import check_network, load_network
from masactrl_video.model.backbones.unet.processors import installed
from masactrl_video.model.backbones.unet.prompt_once import reading_prompts_once
from masactrl_video.model.backbones.unet.prompts import UNetText, encode_prompt
from masactrl_video.model.backbones.unet.residuals import residuals
from masactrl_video.model.backbones.window import Window
from masactrl_video.model.sampling.diffusion import diffusion_schedule
from masactrl_video.settings.names import SchedulerName


class UNetBackbone(Backbone):
    """The `Backbone` of Stable Diffusion's UNets."""

    title = "Stable Diffusion 1.x, 2.x and XL"
    pipelines = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
    denoisers = ("UNet2DConditionModel", "UNetMotionModel", "UNet3DConditionModel", "UNetSpatioTemporalConditionModel")
    """Those of videos are refused with a word of their own (see `layers`)."""

    denoiser_part = "unet"
    files = UNetFiles()
    reuses_deep_features = True
    denoises_windows = True
    reads_prompts_by_region = True

    def denoiser(self, pipe: StableDiffusionPipeline) -> UNet2DConditionModel:
        """The UNet."""
        return pipe.unet

    def tokenizer(self, pipe: StableDiffusionPipeline) -> Tokenizer:
        """That of the first text encoder; SDXL's second reads the same words."""
        tokenizer: Tokenizer = pipe.tokenizer
        return tokenizer

    def latents(self, pipe: StableDiffusionPipeline) -> LatentSpace:
        """As large as the UNet's sample, in the VAE's factor."""
        factor: int = 2 ** (len(pipe.vae.config.block_out_channels) - 1)
        size = pipe.unet.config.sample_size
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        return LatentSpace(pipe.unet.config.in_channels, factor, factor, (height * factor, width * factor))

    def patches(self, network: torch.nn.Module) -> dict[str, JsonValue]:
        """FreeU's factors of each block of the decoder."""
        blocks = getattr(network, "up_blocks", [])
        return {"free_u": [[getattr(block, factor, None) for factor in ("s1", "s2", "b1", "b2")] for block in blocks]}

    def layers(self, denoiser: UNet2DConditionModel) -> tuple[AttentionLayer, ...]:
        """The self-attention layers, in forward order."""
        return self_attention_layers(denoiser)

    def map_layers(self, layers: Sequence[AttentionLayer], divisor: int) -> tuple[AttentionLayer, ...]:
        """Layers with the cross-attention that makes the object masks."""
        return mask_layers(layers, divisor)

    @contextmanager
    def attending(
        self,
        denoiser: UNet2DConditionModel,
        to_picture: Mapping[str, PictureAttention],
        to_text: Mapping[str, Sequence[TextAttention]],
    ) -> Iterator[None]:
        """Inside the context, layers attend otherwise, by attention processors."""
        with installed(denoiser, processors_for(denoiser, self_attention_layers(denoiser), to_picture, to_text)):
            yield

    def calls(
        self,
        denoiser: UNet2DConditionModel,
        on_begin: Callable[[DenoiserCall], None],
        on_end: Callable[[], None] | None = None,
    ) -> AbstractContextManager[None]:
        """Inside the context, each call of the UNet is told of."""
        return watch_calls(denoiser, on_begin, on_end)

    def branches(self, denoiser: UNet2DConditionModel, guidance_scale: float) -> Sequence[Branch]:
        """Classifier-free guidance above 1, unless the UNet itself reads the scale, as latent consistency models do."""
        return GUIDED if guidance_scale > 1 and denoiser.config.time_cond_proj_dim is None else UNGUIDED

    def encode_prompt(
        self, model: LoadedModel, prompt: str, negative_prompt: str, guidance_scale: float, size_px: tuple[int, int]
    ) -> TextCondition:
        """Encode a prompt as the UNet reads it; SDXL is conditioned on the pictures' size too."""
        guided = self.branches(model.denoiser, guidance_scale) == GUIDED
        return encode_prompt(model, prompt, negative_prompt, guided, size_px)

    def schedule(
        self, model: LoadedModel, name: SchedulerName, num_inference_steps: int, size_px: tuple[int, int]
    ) -> Schedule:
        """The same noise levels for all sizes."""
        own = cast(StableDiffusionPipeline, model.pipe).scheduler
        return diffusion_schedule(own.config, model.device, name, num_inference_steps)

    def load_control(self, choice: NetworkChoice, denoiser: UNet2DConditionModel) -> ControlNetwork:
        """A ControlNet or T2I-Adapter for UNets of this shape."""
        network = load_network(choice, denoiser.dtype, denoiser.device)
        check_network(choice.name, network, denoiser)
        return GuidanceNetwork(choice.guidance, network, choice.scale, choice.start, choice.end)

    def prepare_controls(self, model: LoadedModel, pictures: Sequence[NDArray[np.uint8]]) -> PreparedControls:
        """See `PreparedGuidance`."""
        return prepare_guidance(model.networks, pictures)

    @torch.no_grad()
    def predict(
        self,
        model: LoadedModel,
        model_input: torch.Tensor,
        timestep: torch.Tensor,
        text: TextCondition,
        controls: PreparedControls | None,
        step: int,
        num_steps: int,
    ) -> torch.Tensor:
        """The UNet's output, with what ControlNets and T2I-Adapters add to its features."""
        unet, guidance = model.denoiser, controls or PreparedGuidance()
        assert isinstance(text, UNetText)
        assert isinstance(guidance, PreparedGuidance)
        rows = model_input.repeat(text.branches, 1, 1, 1)  # -> (branches x frames, channels, height, width)
        arguments = text.for_frames(model_input.shape[0])
        with ExitStack() as stack:
            for network in (unet, *(controlnet.module for controlnet, _ in guidance.controlnets)):
                stack.enter_context(common_part_once(network, text))
            added = residuals(guidance, rows, timestep, step, num_steps, arguments, text.branches)
            taken = residuals_taken(unet, added)
            out: torch.Tensor = unet(rows, timestep, return_dict=False, **arguments, **taken)[0]
        return out.reshape(text.branches, *model_input.shape)

    def controls_in(self, controls: PreparedControls, part: Mapping[int, Window | None]) -> PreparedControls:
        """See `PreparedGuidance.cut`."""
        assert isinstance(controls, PreparedGuidance)
        return controls.cut(part)

    @contextmanager
    def prompts_once(self, model: LoadedModel, prompts: Sequence[TextCondition]) -> Iterator[None]:
        """Inside the context, UNet and ControlNets keep keys and values of these prompts."""
        with ExitStack() as stack:
            for network in (model.denoiser, *controlnets(model.networks)):
                stack.enter_context(reading_prompts_once(network, prompts))
            yield

    def keeping_deep_features(self, model: LoadedModel) -> AbstractContextManager[list[torch.Tensor]]:
        """See `deep_features`."""
        return keeping_deep_features(model.denoiser)

    def outermost_alone(self, model: LoadedModel, deep_features: torch.Tensor) -> AbstractContextManager[None]:
        """See `deep_features`."""
        return outermost_alone(model, deep_features)
