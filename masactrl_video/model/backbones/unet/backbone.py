"""Stable Diffusion 1.x, 2.x and XL: a UNet whose blocks have self-attention and, behind it, cross-attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from pydantic import JsonValue

from masactrl_video.model.backbones.base import AttentionLayer, Backbone, LoadedModel, PictureAttention, TextAttention
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.steps import DenoiserCall
from masactrl_video.model.backbones.unet.attention import processors_for
from masactrl_video.model.backbones.unet.calls import watch_calls
from masactrl_video.model.backbones.unet.common_part import common_part_once
from masactrl_video.model.backbones.unet.deep_features import keeping_deep_features, outermost_alone, residuals_taken
from masactrl_video.model.backbones.unet.layers import mask_layers, self_attention_layers
from masactrl_video.model.backbones.unet.parts import check_parts
from masactrl_video.model.backbones.unet.processors import installed
from masactrl_video.model.backbones.unet.prompt_once import reading_prompts_once
from masactrl_video.model.backbones.unet.prompts import encode_prompt
from masactrl_video.model.backbones.unet.residuals import residuals
from masactrl_video.model.control_networks import PreparedGuidance


class UNetBackbone(Backbone):
    """The `Backbone` of Stable Diffusion's UNets."""

    pipelines = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
    denoisers = ("UNet2DConditionModel", "UNetMotionModel", "UNet3DConditionModel", "UNetSpatioTemporalConditionModel")
    """Those of videos are refused with a word of their own (see `layers`)."""

    denoiser_part = "unet"

    def denoiser(self, pipe: Any) -> Any:
        """The UNet."""
        return pipe.unet

    def check_parts(self, name: str, pipe: Any) -> None:
        """Compare UNet, VAE, text encoders and tokenizers."""
        check_parts(name, pipe)

    def patches(self, network: Any) -> dict[str, JsonValue]:
        """FreeU's factors of each block of the decoder."""
        blocks = getattr(network, "up_blocks", [])
        return {"free_u": [[getattr(block, factor, None) for factor in ("s1", "s2", "b1", "b2")] for block in blocks]}

    def latent_channels(self, denoiser: Any) -> int:
        """Channels of the latents that the UNet reads."""
        channels: int = denoiser.config.in_channels
        return channels

    def native_latent_size(self, denoiser: Any) -> tuple[int, int]:
        """Height and width of the latents that the UNet was trained on."""
        size = denoiser.config.sample_size
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        return height, width

    def layers(self, denoiser: Any) -> tuple[AttentionLayer, ...]:
        """The self-attention layers, in forward order."""
        return self_attention_layers(denoiser)

    def map_layers(self, layers: Sequence[AttentionLayer], divisor: int) -> tuple[AttentionLayer, ...]:
        """Layers with the cross-attention that makes the object masks."""
        return mask_layers(layers, divisor)

    @contextmanager
    def attending(
        self,
        denoiser: Any,
        to_picture: Mapping[str, PictureAttention],
        to_text: Mapping[str, Sequence[TextAttention]],
    ) -> Iterator[None]:
        """Inside the context, layers attend otherwise, by attention processors."""
        with installed(denoiser, processors_for(denoiser, to_picture, to_text)):
            yield

    @contextmanager
    def calls(
        self, denoiser: Any, on_begin: Callable[[DenoiserCall], None], on_end: Callable[[], None] | None = None
    ) -> Iterator[None]:
        """Inside the context, each call of the UNet is told of."""
        with ExitStack() as stack:
            stack.enter_context(watch_calls(denoiser, on_begin))
            if on_end is not None:
                end = on_end
                stack.callback(denoiser.register_forward_hook(lambda *_: end()).remove)
            yield

    def encode_prompt(
        self, model: LoadedModel, prompt: str, negative_prompt: str, guided: bool, size_px: tuple[int, int]
    ) -> TextCondition:
        """Encode a prompt as the UNet reads it; SDXL is conditioned on the pictures' size too."""
        return encode_prompt(model, prompt, negative_prompt, guided, size_px)

    @torch.no_grad()
    def predict(
        self,
        model: LoadedModel,
        model_input: torch.Tensor,
        timestep: torch.Tensor,
        text: TextCondition,
        controls: PreparedGuidance,
        step: int,
        num_steps: int,
    ) -> torch.Tensor:
        """The UNet's output, with what ControlNets and T2I-Adapters add to its features."""
        unet = model.denoiser
        rows = model_input.repeat(text.branches, 1, 1, 1)  # -> (branches x frames, channels, height, width)
        arguments = text.for_frames(model_input.shape[0])
        with ExitStack() as stack:
            for network in (unet, *(controlnet.module for controlnet, _ in controls.controlnets)):
                stack.enter_context(common_part_once(network, text))
            added = residuals(controls, rows, timestep, step, num_steps, arguments, text.branches)
            taken = residuals_taken(unet, added)
            out: torch.Tensor = unet(rows, timestep, return_dict=False, **arguments, **taken)[0]
        return out.reshape(text.branches, *model_input.shape)

    @contextmanager
    def prompts_once(self, model: LoadedModel, prompts: Sequence[TextCondition]) -> Iterator[None]:
        """Inside the context, UNet and ControlNets keep keys and values of these prompts."""
        controlnets = (network.module for network in model.networks if not network.is_adapter)
        with ExitStack() as stack:
            for network in (model.denoiser, *controlnets):
                stack.enter_context(reading_prompts_once(network, prompts))
            yield

    def keeping_deep_features(self, model: LoadedModel) -> AbstractContextManager[list[torch.Tensor]]:
        """See `deep_features`."""
        return keeping_deep_features(model.denoiser)

    def outermost_alone(self, model: LoadedModel, deep_features: torch.Tensor) -> AbstractContextManager[None]:
        """See `deep_features`."""
        return outermost_alone(model, deep_features)
