"""FLUX.2: a transformer whose picture and text attend to each other in one softmax, on a flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from diffusers import AutoencoderKLFlux2, Flux2KleinKVPipeline, Flux2Transformer2DModel
from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer, LoadedModel
from masactrl_video.model.backbones.branches import GUIDED, UNGUIDED, Branch
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.controls import ControlNetwork, NetworkChoice, PreparedControls
from masactrl_video.model.backbones.flux.layers import joint_layers, word_layers
from masactrl_video.model.backbones.flux.packing import places
from masactrl_video.model.backbones.flux2.attention import TITLE, attending, watch_calls
from masactrl_video.model.backbones.flux2.files import Flux2Files
from masactrl_video.model.backbones.flux2.latents import Flux2Latents
from masactrl_video.model.backbones.flux2.pictures import behind, load_control, prepare_controls
from masactrl_video.model.backbones.flux2.prompts import Flux2Text, InConversation, encode_prompts
from masactrl_video.model.backbones.flux2.references import joined, record_reference, takes_references
from masactrl_video.model.backbones.joint.backbone import Inside, TransformerBackbone
from masactrl_video.model.backbones.joint.controls import PreparedPictures
from masactrl_video.model.backbones.joint.packing import PATCH, pack, unpack
from masactrl_video.model.backbones.joint.ragged import branch_by_branch
from masactrl_video.model.backbones.parts import Pipeline, Tokenizer
from masactrl_video.model.backbones.readers import TextReader
from masactrl_video.model.backbones.references import JoinedReferences, KeptReference
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.sampling.flow import flow_schedule
from masactrl_video.settings.names import SchedulerName


class Flux2Backbone(TransformerBackbone):
    """The `Backbone` of FLUX.2: dev, klein, klein-kv, and what is made of them."""

    title = TITLE
    pipelines = ("Flux2Pipeline", "Flux2KleinPipeline", "Flux2KleinKVPipeline")
    denoisers = ("Flux2Transformer2DModel",)
    files = Flux2Files()
    inside = Inside(joint_layers, attending, watch_calls)
    keys_have_places = True
    keys_can_move = True
    calls_each_branch = True
    reads_reference_pictures = True

    def tokenizer(self, pipe: Pipeline) -> Tokenizer:
        """Of a prompt inside a conversation, which is what the model reads."""
        return InConversation(pipe)

    def latents(self, pipe: Pipeline) -> Flux2Latents:
        """Those of the autoencoder, in cells of 2x2."""
        vae = cast(AutoencoderKLFlux2, pipe.components["vae"])
        factor: int = 2 ** (len(vae.config.block_out_channels) - 1)
        return Flux2Latents(vae.config.latent_channels, factor, factor * PATCH, self.native_size_px(pipe))

    def map_layers(self, layers: Sequence[AttentionLayer], divisor: int) -> tuple[AttentionLayer, ...]:
        """The blocks that keep text and picture apart."""
        return word_layers(layers, divisor)

    def readers(self, pipe: Pipeline) -> Sequence[TextReader]:
        """None to be looked at: `encode_prompts` itself tells how long the conversation is."""
        return ()

    def distils_guidance(self, denoiser: Flux2Transformer2DModel) -> bool:
        """dev does."""
        return bool(denoiser.config.guidance_embeds)

    def branches(self, denoiser: Flux2Transformer2DModel, guidance_scale: float) -> Sequence[Branch]:
        """One where the network itself reads the scale (dev); else real guidance above 1."""
        return GUIDED if guidance_scale > 1 and not self.distils_guidance(denoiser) else UNGUIDED

    def own_branches(self, denoiser: torch.nn.Module) -> Sequence[Branch]:
        """Without real guidance; with it, klein's pipeline calls the network twice."""
        return UNGUIDED

    def encode_prompt(
        self, model: LoadedModel, prompt: str, negative_prompt: str, guidance_scale: float, size_px: tuple[int, int]
    ) -> TextCondition:
        """Encode a prompt by the language model.

        Raises:
            UserError: a negative prompt or a scale that this model never reads.
        """
        denoiser = cast(Flux2Transformer2DModel, model.denoiser)
        if negative_prompt and self.distils_guidance(denoiser):
            raise UserError(
                "negative_prompt: the guidance of this model is distilled (FLUX.2 dev): it reads guidance_scale and no "
                "negative prompt; leave it out, or give a true_cfg_scale above 1 too"
            )
        guided = self.branches(denoiser, guidance_scale) == GUIDED
        distilled = isinstance(model.pipe, Flux2KleinKVPipeline)  # which does not write it into its configuration
        if guided and (distilled or getattr(model.pipe, "config", {}).get("is_distilled")):
            raise UserError(
                f"guidance_scale: got {guidance_scale:g}; this model was distilled to go without guidance (FLUX.2 "
                "klein): give 1, or take its base model"
            )
        return encode_prompts(model, [negative_prompt, prompt] if guided else [prompt], guidance_scale)

    def schedule(
        self, model: LoadedModel, name: SchedulerName, num_inference_steps: int, size_px: tuple[int, int]
    ) -> Schedule:
        """The model's own noise levels, which depend on the size and on the number of steps."""
        own, space = cast(Schedule, model.pipe.components["scheduler"]), self.latents(model.pipe)
        self.files.check_scheduler(self.title, type(own).__name__)
        _, height, width = space.shape(size_px)
        tokens = (height // PATCH) * (width // PATCH)
        shift = compute_empirical_mu(tokens, num_inference_steps)
        return flow_schedule(own.config, model.device, name, num_inference_steps, tokens, shift=shift)

    def load_control(self, choice: NetworkChoice, denoiser: Flux2Transformer2DModel) -> ControlNetwork:
        """Reference pictures: diffusers has no ControlNet of this family.

        Raises:
            UserError: it is to be one.
        """
        return load_control(choice)

    def prepare_controls(self, model: LoadedModel, pictures: Sequence[NDArray[np.uint8]]) -> PreparedControls:
        """The pictures as the autoencoder has them."""
        return prepare_controls(model, self.latents(model.pipe), pictures)

    def takes_references(self, denoiser: torch.nn.Module) -> bool:
        """klein-kv does."""
        return takes_references(denoiser)

    def record_reference(self, model: LoadedModel, picture: NDArray[np.uint8]) -> KeptReference:
        """What a picture, RGB (height, width, 3), offers as a reference of klein-kv."""
        return record_reference(model.pipe, picture)

    def join_references(self, model: LoadedModel, references: Sequence[KeptReference]) -> JoinedReferences:
        """References in the order in which they are counted."""
        return joined(cast(Flux2Transformer2DModel, model.denoiser), references) if references else JoinedReferences()

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
        """The transformer's output."""
        assert isinstance(text, Flux2Text)
        transformer, frames = cast(Flux2Transformer2DModel, model.denoiser), model_input.shape[0]
        height, width = model_input.shape[-2:]
        tokens, scale = pack(model_input), cast(torch.Tensor, text.guidance)
        assert controls is None or isinstance(controls, PreparedPictures)
        references = behind(model, transformer, controls, frames, step, num_steps)
        own = places((height // PATCH, width // PATCH), axes=4)

        def call(branch: int) -> torch.Tensor:
            prompt = text.hidden_states[branch]
            numbers = torch.arange(prompt.shape[0], device=tokens.device)[:, None]
            out = transformer(
                hidden_states=torch.cat([tokens, *references.tokens], dim=1) if references.tokens else tokens,
                encoder_hidden_states=prompt.expand(frames, -1, -1),
                timestep=timestep.expand(frames).to(tokens.dtype) / 1000,
                img_ids=torch.cat([own, *references.places]).to(tokens.device),
                txt_ids=torch.nn.functional.pad(numbers, (3, 0)),
                guidance=scale[branch].expand(frames) if self.distils_guidance(transformer) else None,
                return_dict=False,
                **references.kept,
            )[0]
            return unpack(out[:, : tokens.shape[1]], height, width)

        return branch_by_branch(model, text, call)
