"""Stable Diffusion 3 and 3.5: a transformer whose picture and text attend to each other in one softmax, on a flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

from masactrl_video.model.backbones.base import LoadedModel
from masactrl_video.model.backbones.branches import GUIDED
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.controls import PreparedControls
from masactrl_video.model.backbones.joint.backbone import (
    Controlled,
    Inside,
    TokensInside,
    TransformerBackbone,
    by_branch,
)
from masactrl_video.model.backbones.joint.controls import PreparedPictures
from masactrl_video.model.backbones.parts import Pipeline
from masactrl_video.model.backbones.readers import FIRST, SECOND, TextReader
from masactrl_video.model.backbones.sd3.attention import TITLE, all_layers, attending, watch_calls
from masactrl_video.model.backbones.sd3.controls import load_control, prepare_controls, residuals
from masactrl_video.model.backbones.sd3.files import SD3Files
from masactrl_video.model.unread import libraries_leave_it_to_us

_MOST_TOKENS = 256
"""Of T5, as diffusers' pipeline takes by default."""


@dataclass(frozen=True)
class SD3Text(TextCondition):
    """Prompts of the branches of one call."""

    pooled: torch.Tensor | None = None
    """(branches, channels)."""


class SD3Backbone(TransformerBackbone):
    """The `Backbone` of Stable Diffusion 3 and 3.5."""

    title = TITLE
    pipelines = ("StableDiffusion3Pipeline",)
    denoisers = ("SD3Transformer2DModel",)
    files = SD3Files()
    inside = Inside(all_layers, attending, watch_calls)
    tokens_inside = TokensInside({"block_controlnet_hidden_states": 1}, {"pos_embed": lambda states, cut: cut(states)})
    controlled = Controlled(load_control, prepare_controls)
    sigmas_are_even = False

    def native_size_px(self, pipe: Pipeline) -> tuple[int, int]:
        """The transformer knows it, in latents."""
        sd3 = cast(StableDiffusion3Pipeline, pipe)
        side: int = sd3.transformer.config.sample_size * 2 ** (len(sd3.vae.config.block_out_channels) - 1)
        return side, side

    def longest_side_px(self, pipe: Pipeline) -> int:
        """The transformer's table has so many tokens on a side."""
        tokens: int = cast(StableDiffusion3Pipeline, pipe).transformer.config.pos_embed_max_size
        return tokens * self.latents(pipe).multiple_px

    def readers(self, pipe: Pipeline) -> Sequence[TextReader]:
        """Three, of which the last may have been left out."""
        most = _most_tokens(cast(StableDiffusion3Pipeline, pipe))
        return FIRST, SECOND, TextReader("tokenizer_3", "the third text encoder", most)

    @torch.no_grad()
    def encode_prompt(
        self, model: LoadedModel, prompt: str, negative_prompt: str, guidance_scale: float, size_px: tuple[int, int]
    ) -> TextCondition:
        """Encode a prompt by all three encoders; words are looked up among the first encoder's tokens."""
        pipe = cast(StableDiffusion3Pipeline, model.pipe)
        guided = self.branches(model.denoiser, guidance_scale) == GUIDED
        most = _most_tokens(pipe)
        with libraries_leave_it_to_us():
            encoded = [
                pipe.encode_prompt(
                    text, None, None, model.device, do_classifier_free_guidance=False, max_sequence_length=most
                )
                for text in ([negative_prompt, prompt] if guided else [prompt])
            ]
        hidden, pooled = (torch.cat([one[part] for one in encoded]).to(model.dtype) for part in (0, 2))
        return SD3Text(hidden, pooled)

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
        assert isinstance(text, SD3Text)
        assert text.pooled is not None
        transformer, frames = cast(SD3Transformer2DModel, model.denoiser), model_input.shape[0]
        latents = model_input.repeat(text.branches, 1, 1, 1)
        arguments = {
            "hidden_states": latents,
            "encoder_hidden_states": text.rows(frames),
            "pooled_projections": text.pooled.repeat_interleave(frames, dim=0),
            "timestep": timestep.expand(latents.shape[0]),
        }
        added = None
        if controls is not None:
            assert isinstance(controls, PreparedPictures)
            added = residuals(controls, transformer, arguments, text.branches, step, num_steps)
        out = transformer(**arguments, block_controlnet_hidden_states=added, return_dict=False)[0]
        return by_branch(out, text)


def _most_tokens(pipe: StableDiffusion3Pipeline) -> int:
    """Tokens of a prompt for the third text encoder, also where there is none: so many zeros stand there then."""
    own = pipe.tokenizer_3
    return _MOST_TOKENS if own is None else min(int(own.model_max_length), _MOST_TOKENS)
