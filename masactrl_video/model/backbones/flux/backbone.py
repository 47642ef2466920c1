"""FLUX.1: a transformer whose picture and text attend to each other in one softmax, on a flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import cast

import numpy as np
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from numpy.typing import NDArray

from masactrl_video.errors import UserError
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
from masactrl_video.model.backbones.flux.attention import attending
from masactrl_video.model.backbones.flux.calls import watch_calls
from masactrl_video.model.backbones.flux.controls import load_control, prepare_controls, residuals
from masactrl_video.model.backbones.flux.files import FluxFiles
from masactrl_video.model.backbones.flux.layers import joint_layers, word_layers
from masactrl_video.model.backbones.flux.packing import places
from masactrl_video.model.backbones.flux.prompts import FluxText, encode_prompt
from masactrl_video.model.backbones.joint.controls import PreparedPictures
from masactrl_video.model.backbones.joint.packing import PATCH, pack, unpack
from masactrl_video.model.backbones.latents import LatentSpace
from masactrl_video.model.backbones.parts import Pipeline, Tokenizer
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.backbones.steps import DenoiserCall
from masactrl_video.model.sampling.flow import flow_schedule
from masactrl_video.settings.names import SchedulerName


class FluxBackbone(Backbone):
    """The `Backbone` of FLUX.1: dev, schnell and what is made of them."""

    title = "FLUX.1"
    pipelines = ("FluxPipeline",)
    denoisers = ("FluxTransformer2DModel",)
    denoiser_part = "transformer"
    files = FluxFiles()
    keys_have_places = True
    keys_can_move = True

    def denoiser(self, pipe: Pipeline) -> FluxTransformer2DModel:
        """The transformer."""
        return pipe.components["transformer"]

    def tokenizer(self, pipe: Pipeline) -> Tokenizer:
        """That of the text whose tokens the picture attends to; the other encoder gives a summary alone."""
        return cast(Tokenizer, pipe.components["tokenizer_2"])

    def latents(self, pipe: Pipeline) -> LatentSpace:
        """Two latents are the side of a token; the autoencoder knows the size of its training."""
        vae = cast(FluxPipeline, pipe).vae
        factor: int = 2 ** (len(vae.config.block_out_channels) - 1)
        side: int = vae.config.sample_size
        channels: int = self.denoiser(pipe).config.in_channels // PATCH**2
        return LatentSpace(channels, factor, factor * PATCH, (side, side))

    def layers(self, denoiser: FluxTransformer2DModel) -> tuple[AttentionLayer, ...]:
        """The attention of all blocks."""
        return joint_layers(denoiser)

    def map_layers(self, layers: Sequence[AttentionLayer], divisor: int) -> tuple[AttentionLayer, ...]:
        """The blocks that keep text and picture apart."""
        return word_layers(layers, divisor)

    def attending(
        self,
        denoiser: FluxTransformer2DModel,
        to_picture: Mapping[str, PictureAttention],
        to_text: Mapping[str, Sequence[TextAttention]],
    ) -> AbstractContextManager[None]:
        """Inside the context, layers attend otherwise, by attention processors."""
        return attending(denoiser, to_picture, to_text)

    def calls(
        self,
        denoiser: FluxTransformer2DModel,
        on_begin: Callable[[DenoiserCall], None],
        on_end: Callable[[], None] | None = None,
    ) -> AbstractContextManager[None]:
        """Inside the context, each call of the transformer is told of."""
        return watch_calls(denoiser, on_begin, on_end)

    def distils_guidance(self, denoiser: FluxTransformer2DModel) -> bool:
        """dev does, and what is made of it."""
        return bool(denoiser.config.guidance_embeds)

    def branches(self, denoiser: FluxTransformer2DModel, guidance_scale: float) -> Sequence[Branch]:
        """One where the network itself reads the scale (dev); else real guidance above 1 (`true_cfg_scale`)."""
        return GUIDED if guidance_scale > 1 and not self.distils_guidance(denoiser) else UNGUIDED

    def own_branches(self, denoiser: FluxTransformer2DModel) -> Sequence[Branch]:
        """Without real guidance; with it, a pipeline calls the network twice."""
        return UNGUIDED

    def encode_prompt(
        self, model: LoadedModel, prompt: str, negative_prompt: str, guidance_scale: float, size_px: tuple[int, int]
    ) -> TextCondition:
        """Encode a prompt by both encoders.

        Raises:
            UserError: a negative prompt, which a network of distilled guidance never reads.
        """
        if negative_prompt and self.distils_guidance(cast(FluxTransformer2DModel, model.denoiser)):
            raise UserError(
                "negative_prompt: the guidance of this model is distilled (FLUX.1 dev): it reads guidance_scale and no "
                "negative prompt; leave it out, or give a true_cfg_scale above 1 too"
            )
        guided = self.branches(model.denoiser, guidance_scale) == GUIDED
        prompts = [negative_prompt, prompt] if guided else [prompt]
        return encode_prompt(model, prompts, guidance_scale)

    def schedule(
        self, model: LoadedModel, name: SchedulerName, num_inference_steps: int, size_px: tuple[int, int]
    ) -> Schedule:
        """The model's own noise levels, which may depend on the size."""
        own, space = cast(FluxPipeline, model.pipe).scheduler, self.latents(model.pipe)
        self.files.check_scheduler(self.title, type(own).__name__)
        _, height, width = space.shape(size_px)
        tokens = (height // PATCH) * (width // PATCH)
        return flow_schedule(own.config, model.device, name, num_inference_steps, tokens)

    def load_control(self, choice: NetworkChoice, denoiser: FluxTransformer2DModel) -> ControlNetwork:
        """A ControlNet for transformers of this shape, also one for several kinds of pictures."""
        return load_control(choice, denoiser)

    def prepare_controls(self, model: LoadedModel, pictures: Sequence[NDArray[np.uint8]]) -> PreparedControls:
        """The pictures as the autoencoder has them."""
        return prepare_controls(model, self.latents(model.pipe), pictures)

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
        """The transformer's output, with what ControlNets add between its blocks."""
        assert isinstance(text, FluxText)
        transformer, frames = cast(FluxTransformer2DModel, model.denoiser), model_input.shape[0]
        height, width = model_input.shape[-2:]
        tokens = pack(model_input).repeat(text.branches, 1, 1)  # -> (branches x frames, tokens, channels x 4)
        arguments: dict[str, object] = text.for_frames(frames) | {
            "hidden_states": tokens,
            "timestep": timestep.expand(tokens.shape[0]).to(tokens.dtype) / 1000,
            "img_ids": places((height // PATCH, width // PATCH)).to(tokens.device, tokens.dtype),
            "return_dict": False,
        }
        added: dict[str, object] = {}
        if controls is not None:
            assert isinstance(controls, PreparedPictures)
            added = residuals(controls, transformer, arguments, text, frames, step, num_steps)
        out: torch.Tensor = transformer(guidance=text.guidance_rows(transformer, frames), **arguments, **added)[0]
        return unpack(out, height, width).reshape(text.branches, *model_input.shape)
