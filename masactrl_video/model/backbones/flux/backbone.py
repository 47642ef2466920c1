"""FLUX.1: a transformer whose picture and text attend to each other in one softmax, on a flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import (
    AttentionLayer,
    LoadedModel,
)
from masactrl_video.model.backbones.branches import GUIDED, UNGUIDED, Branch
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.controls import PreparedControls
from masactrl_video.model.backbones.flux.attention import attending
from masactrl_video.model.backbones.flux.calls import watch_calls
from masactrl_video.model.backbones.flux.controls import load_control, prepare_controls, residuals
from masactrl_video.model.backbones.flux.files import FluxFiles
from masactrl_video.model.backbones.flux.layers import joint_layers, word_layers
from masactrl_video.model.backbones.flux.packing import places
from masactrl_video.model.backbones.flux.prompts import FluxText, encode_prompt
from masactrl_video.model.backbones.joint.backbone import Controlled, Inside, TokensInside, TransformerBackbone
from masactrl_video.model.backbones.joint.controls import PreparedPictures
from masactrl_video.model.backbones.joint.packing import PATCH, pack, unpack
from masactrl_video.model.backbones.joint.ragged import branch_by_branch
from masactrl_video.model.backbones.latents import LatentSpace
from masactrl_video.model.backbones.parts import Pipeline, Tokenizer


class FluxBackbone(TransformerBackbone):
    """The `Backbone` of FLUX.1: dev, schnell and what is made of them."""

    title = "FLUX.1"
    pipelines = ("FluxPipeline",)
    denoisers = ("FluxTransformer2DModel",)
    files = FluxFiles()
    inside = Inside(joint_layers, attending, watch_calls)
    controlled = Controlled(load_control, prepare_controls)
    tokens_inside = TokensInside(
        {"hidden_states": 1, "img_ids": 0, "controlnet_block_samples": 1, "controlnet_single_block_samples": 1}
    )
    keys_have_places = True
    keys_can_move = True
    calls_each_branch = True

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

    def map_layers(self, layers: Sequence[AttentionLayer], divisor: int) -> tuple[AttentionLayer, ...]:
        """The blocks that keep text and picture apart."""
        return word_layers(layers, divisor)

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
        tokens = pack(model_input)

        def arguments(some: FluxText) -> dict[str, object]:
            rows = some.branches * frames
            return some.for_frames(frames) | {
                "hidden_states": tokens.repeat(some.branches, 1, 1),
                "timestep": timestep.expand(rows).to(tokens.dtype) / 1000,
                "img_ids": places((height // PATCH, width // PATCH)).to(tokens.device, tokens.dtype),
                "return_dict": False,
            }

        added: dict[str, list[torch.Tensor]] = {}
        if controls is not None:  # they read the prompt alone, as in diffusers' pipeline
            assert isinstance(controls, PreparedPictures)
            prompt = text.branch(text.branches - 1)
            added = residuals(controls, transformer, arguments(prompt), prompt.guidance_rows(frames), step, num_steps)

        def call(some: FluxText) -> torch.Tensor:
            given = arguments(some) | added
            if some.branches > 1:
                given |= {name: [one.repeat(some.branches, 1, 1) for one in found] for name, found in added.items()}
            scale = some.guidance_rows(frames) if self.distils_guidance(transformer) else None
            out: torch.Tensor = transformer(guidance=scale, **given)[0]
            return unpack(out, height, width).reshape(some.branches, *model_input.shape)

        if model.clock.joins_branches:
            return call(text)
        return branch_by_branch(model, text, lambda branch: call(text.branch(branch))[0])
