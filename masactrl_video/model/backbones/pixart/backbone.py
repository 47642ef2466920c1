"""PixArt-Sigma: a transformer with one layer for the picture and another for the text, on diffusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from diffusers import PixArtSigmaPipeline, PixArtTransformer2DModel

from masactrl_video.model.backbones.base import LoadedModel
from masactrl_video.model.backbones.branches import GUIDED, Branch
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.controls import PreparedControls
from masactrl_video.model.backbones.joint.backbone import Inside, TransformerBackbone, by_branch
from masactrl_video.model.backbones.joint.ragged import WrittenInto
from masactrl_video.model.backbones.parts import Pipeline, Tokenizer
from masactrl_video.model.backbones.pixart.attention import TITLE, all_layers, attending, watch_calls
from masactrl_video.model.backbones.pixart.files import PixArtFiles
from masactrl_video.model.backbones.readers import FIRST, TextReader
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.sampling.diffusion import diffusion_schedule
from masactrl_video.settings.names import SchedulerName

_MOST_TOKENS = 300
"""As diffusers' pipeline takes by default."""


@dataclass(frozen=True)
class PixArtText(TextCondition):
    """Prompts of the branches of one call."""

    mask: torch.Tensor | None = None
    """(branches, text tokens): 1 for those of the prompt, 0 for what fills them up."""


class PixArtBackbone(TransformerBackbone):
    """The `Backbone` of PixArt-Sigma."""

    title = TITLE
    pipelines = ("PixArtSigmaPipeline",)
    denoisers = ("PixArtTransformer2DModel",)
    files = PixArtFiles()
    words_in = "self"  # each layer has one for the text beside it
    inside = Inside(all_layers, attending, watch_calls)

    def tokenizer(self, pipe: Pipeline) -> Tokenizer:
        """Of prompts in small letters, as the pipeline reads them."""
        return WrittenInto(super().tokenizer(pipe), _in_small_letters, part=str.lower, most=_most_tokens(pipe))

    def readers(self, pipe: Pipeline) -> Sequence[TextReader]:
        """T5."""
        return (TextReader("tokenizer", FIRST.name, _most_tokens(pipe), _in_small_letters),)

    def native_size_px(self, pipe: Pipeline) -> tuple[int, int]:
        """The transformer knows it, in latents."""
        pixart = cast(PixArtSigmaPipeline, pipe)
        side: int = pixart.transformer.config.sample_size * 2 ** (len(pixart.vae.config.block_out_channels) - 1)
        return side, side

    def own_branches(self, denoiser: torch.nn.Module) -> Sequence[Branch]:
        """Guided."""
        return GUIDED

    @torch.no_grad()
    def encode_prompt(
        self, model: LoadedModel, prompt: str, negative_prompt: str, guidance_scale: float, size_px: tuple[int, int]
    ) -> TextCondition:
        """Encode a prompt by T5."""
        how = {"do_classifier_free_guidance": False, "max_sequence_length": _most_tokens(model.pipe)}
        encoded = self.encoded(model, prompt, negative_prompt, guidance_scale, **how)
        hidden, mask = (torch.cat([one[part] for one in encoded]) for part in (0, 1))
        return PixArtText(hidden.to(model.dtype), mask)

    def schedule(
        self, model: LoadedModel, name: SchedulerName, num_inference_steps: int, size_px: tuple[int, int]
    ) -> Schedule:
        """The same noise levels for all sizes; with DDIM spaced as Stable Diffusion's, so that it can be inverted."""
        config = cast(PixArtSigmaPipeline, model.pipe).scheduler.config
        spaced = {**config, "timestep_spacing": "leading"} if name == "ddim" else config
        return diffusion_schedule(spaced, model.device, name, num_inference_steps)

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
        """The transformer's output, without the deviation that it predicts too."""
        assert isinstance(text, PixArtText)
        assert text.mask is not None
        transformer, frames = cast(PixArtTransformer2DModel, model.denoiser), model_input.shape[0]
        latents = model_input.repeat(text.branches, 1, 1, 1)
        out = transformer(
            latents,
            encoder_hidden_states=text.rows(frames),
            encoder_attention_mask=text.mask.repeat_interleave(frames, dim=0),
            timestep=timestep.expand(latents.shape[0]),
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
            return_dict=False,
        )[0]
        return by_branch(out[:, : latents.shape[1]], text)


def _most_tokens(pipe: Pipeline) -> int:
    """Tokens of a prompt."""
    return min(int(cast(PixArtSigmaPipeline, pipe).tokenizer.model_max_length), _MOST_TOKENS)


def _in_small_letters(prompt: str) -> str:
    return prompt.lower().strip()
