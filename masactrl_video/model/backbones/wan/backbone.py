"""Wan 2.1 and 2.2 as models of single pictures: a transformer for videos of one frame, on a flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from diffusers import WanPipeline, WanTransformer3DModel
from diffusers.pipelines.wan.pipeline_wan import prompt_clean

from masactrl_video.model.backbones.base import LoadedModel
from masactrl_video.model.backbones.branches import GUIDED, Branch
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.controls import PreparedControls
from masactrl_video.model.backbones.joint.backbone import Inside, TransformerBackbone
from masactrl_video.model.backbones.joint.packing import PATCH
from masactrl_video.model.backbones.joint.ragged import RaggedText, WrittenInto, branch_by_branch
from masactrl_video.model.backbones.joint.video_latents import VideoLatents
from masactrl_video.model.backbones.parts import Pipeline, Tokenizer
from masactrl_video.model.backbones.readers import FIRST, TextReader
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.backbones.wan.attention import TITLE, all_layers, attending, watch_calls
from masactrl_video.model.backbones.wan.files import WanFiles
from masactrl_video.model.backbones.wan.schedule import wan_schedule
from masactrl_video.settings.names import SchedulerName

_MOST_TOKENS = 512
"""As diffusers' pipeline takes by default."""
_NATIVE_PX = {8: (480, 832), 16: (704, 1280)}
"""Factor of the autoencoder → height and width as the authors give them; no file of the model says it."""


class WanBackbone(TransformerBackbone):
    """The `Backbone` of Wan with one transformer, which makes a video of one frame."""

    title = TITLE
    pipelines = ("WanPipeline",)
    denoisers = ("WanTransformer3DModel",)
    files = WanFiles()
    words_in = "self"  # each layer has one for the text beside it
    inside = Inside(all_layers, attending, watch_calls)
    keys_have_places = True
    keys_can_move = True
    calls_each_branch = True

    def tokenizer(self, pipe: Pipeline) -> Tokenizer:
        """Of prompts as the pipeline reads them."""
        return WrittenInto(super().tokenizer(pipe), prompt_clean, most=_most_tokens(pipe))

    def readers(self, pipe: Pipeline) -> Sequence[TextReader]:
        """T5."""
        return (TextReader("tokenizer", FIRST.name, _most_tokens(pipe), prompt_clean),)

    def longest_side_px(self, pipe: Pipeline) -> int:
        """The transformer's tables of places."""
        tokens: int = cast(WanPipeline, pipe).transformer.config.rope_max_seq_len
        return tokens * self.latents(pipe).multiple_px

    def latents(self, pipe: Pipeline) -> VideoLatents:
        """Those of one frame of a video."""
        config = cast(WanPipeline, pipe).vae.config
        factor: int = config.scale_factor_spatial
        return VideoLatents(config.z_dim, factor, factor * PATCH, _NATIVE_PX.get(factor, _NATIVE_PX[8]))

    def own_branches(self, denoiser: torch.nn.Module) -> Sequence[Branch]:
        """Guided, in two calls."""
        return GUIDED

    @torch.no_grad()
    def encode_prompt(
        self, model: LoadedModel, prompt: str, negative_prompt: str, guidance_scale: float, size_px: tuple[int, int]
    ) -> TextCondition:
        """Encode a prompt by T5; what fills it up is zero, and is read too."""
        how = {"do_classifier_free_guidance": False, "max_sequence_length": _most_tokens(model.pipe)}
        encoded = self.encoded(model, prompt, negative_prompt, guidance_scale, **how)
        return RaggedText.of([states[0][0].to(model.dtype) for states in encoded])

    def schedule(
        self, model: LoadedModel, name: SchedulerName, num_inference_steps: int, size_px: tuple[int, int]
    ) -> Schedule:
        """UniPC or Euler's steps, with the same noise levels for all sizes."""
        own = model.pipe.components["scheduler"]
        self.files.check_scheduler(self.title, type(own).__name__)
        return wan_schedule(own, model.device, name, num_inference_steps)

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
        """The transformer's output for videos of one frame."""
        assert isinstance(text, RaggedText)
        transformer, frames = cast(WanTransformer3DModel, model.denoiser), model_input.shape[0]
        times = timestep.expand(frames)
        if cast(WanPipeline, model.pipe).config.expand_timesteps:  # 2.2 TI2V-5B reads one for each token
            tokens = (model_input.shape[-2] // PATCH) * (model_input.shape[-1] // PATCH)
            times = times[:, None].expand(-1, tokens)

        def call(branch: int) -> torch.Tensor:
            out: torch.Tensor = transformer(
                hidden_states=model_input.unsqueeze(2),
                timestep=times,
                encoder_hidden_states=text.text(branch).expand(frames, -1, -1),
                return_dict=False,
            )[0]
            return out.squeeze(2)

        return branch_by_branch(model, text, call)


def _most_tokens(pipe: Pipeline) -> int:
    """Tokens of a prompt."""
    return min(int(cast(WanPipeline, pipe).tokenizer.model_max_length), _MOST_TOKENS)
