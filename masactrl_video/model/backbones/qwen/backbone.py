"""Qwen-Image: a transformer whose picture and text attend to each other in one softmax, on a flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from diffusers import QwenImagePipeline, QwenImageTransformer2DModel

from masactrl_video.model.backbones.base import LoadedModel
from masactrl_video.model.backbones.branches import PLAIN, UNGUIDED, Branch, GuidanceRule, classifier_free_guidance
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.controls import PreparedControls
from masactrl_video.model.backbones.joint.backbone import Controlled, Inside, TokensInside, TransformerBackbone
from masactrl_video.model.backbones.joint.controls import PreparedPictures
from masactrl_video.model.backbones.joint.packing import PATCH, pack, unpack
from masactrl_video.model.backbones.joint.ragged import RaggedText, WrittenInto, branch_by_branch
from masactrl_video.model.backbones.joint.video_latents import VideoLatents
from masactrl_video.model.backbones.parts import Pipeline, Tokenizer
from masactrl_video.model.backbones.qwen.attention import TITLE, all_layers, attending, watch_calls
from masactrl_video.model.backbones.qwen.controls import load_control, prepare_controls, residuals
from masactrl_video.model.backbones.qwen.files import QwenFiles
from masactrl_video.model.backbones.readers import IN_CONVERSATION, TextReader

_NATIVE_PX = 1328
"""Side of a square picture as the authors give it; no file of the model says it."""


class QwenBackbone(TransformerBackbone):
    """The `Backbone` of Qwen-Image."""

    title = TITLE
    pipelines = ("QwenImagePipeline",)
    denoisers = ("QwenImageTransformer2DModel",)
    files = QwenFiles()
    inside = Inside(all_layers, attending, watch_calls)
    tokens_inside = TokensInside(
        {"hidden_states": 1, "controlnet_block_samples": 1},
        {"pos_embed": lambda made, cut: (cut(made[0][None])[0], made[1])},
    )
    controlled = Controlled(load_control, prepare_controls)
    keys_have_places = True
    keys_can_move = True
    calls_each_branch = True

    def tokenizer(self, pipe: Pipeline) -> Tokenizer:
        """Of a prompt inside the pipeline's own text, whose beginning the transformer does not read."""
        own = cast(QwenImagePipeline, pipe)
        first = own.prompt_template_encode_start_idx
        return WrittenInto(own.tokenizer, own.prompt_template_encode.format, first, most=_most_tokens(own))

    def readers(self, pipe: Pipeline) -> Sequence[TextReader]:
        """The language model."""
        own = cast(QwenImagePipeline, pipe)
        text = own.prompt_template_encode.format
        return (TextReader("tokenizer", IN_CONVERSATION, _most_tokens(own), around=text),)

    def longest_side_px(self, pipe: Pipeline) -> int:
        """The transformer's tables of places, around the picture's middle."""
        tokens = 2 * len(cast(QwenImagePipeline, pipe).transformer.pos_embed.pos_freqs)
        return tokens * self.latents(pipe).multiple_px

    def latents(self, pipe: Pipeline) -> VideoLatents:
        """Those of one frame of a video."""
        vae = cast(QwenImagePipeline, pipe).vae
        factor: int = 2 ** len(vae.temperal_downsample)
        return VideoLatents(vae.config.z_dim, factor, factor * PATCH, (_NATIVE_PX, _NATIVE_PX))

    def own_branches(self, denoiser: torch.nn.Module) -> Sequence[Branch]:
        """Without a negative prompt; with one, a pipeline calls the network twice."""
        return UNGUIDED

    def guided(self, branches: torch.Tensor, guidance_scale: float, rule: GuidanceRule = PLAIN) -> torch.Tensor:
        """Each token of the guided output is as long as that of the conditional one (`true_cfg_scale`)."""
        if branches.shape[0] == 1:
            return branches[0]
        height, width = branches.shape[-2:]
        tokens = torch.stack([pack(branch) for branch in branches])
        combined = classifier_free_guidance(tokens, guidance_scale)
        length, own = (torch.norm(states, dim=-1, keepdim=True) for states in (tokens[1], combined))
        return unpack(combined * (length / own), height, width)

    @torch.no_grad()
    def encode_prompt(
        self, model: LoadedModel, prompt: str, negative_prompt: str, guidance_scale: float, size_px: tuple[int, int]
    ) -> TextCondition:
        """Encode a prompt by the language model."""
        encoded = self.encoded(model, prompt, negative_prompt, guidance_scale)
        return RaggedText.of([states[0][0].to(model.dtype) for states in encoded])

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
        assert isinstance(text, RaggedText)
        transformer, frames = cast(QwenImageTransformer2DModel, model.denoiser), model_input.shape[0]
        height, width = model_input.shape[-2:]
        tokens = pack(model_input)

        def arguments(branch: int) -> dict[str, object]:
            return {
                "hidden_states": tokens,
                "encoder_hidden_states": text.text(branch).expand(frames, -1, -1),
                "encoder_hidden_states_mask": None,
                "timestep": timestep.expand(frames).to(tokens.dtype) / 1000,
                "img_shapes": [[(1, height // PATCH, width // PATCH)]] * frames,
                "return_dict": False,
            }

        added = None
        if controls is not None:  # they read the prompt alone, as in diffusers' pipeline
            assert isinstance(controls, PreparedPictures)
            added = residuals(controls, transformer, arguments(text.branches - 1), step, num_steps)

        def call(branch: int) -> torch.Tensor:
            out: torch.Tensor = transformer(controlnet_block_samples=added, **arguments(branch))[0]
            return unpack(out, height, width)

        return branch_by_branch(model, text, call)


def _most_tokens(pipe: QwenImagePipeline) -> int:
    """Tokens that are read of a prompt with the text around it."""
    return int(pipe.tokenizer_max_length + pipe.prompt_template_encode_start_idx)
