"""Z-Image: a transformer with one stream of picture and caption, on a flow."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from diffusers import ZImagePipeline, ZImageTransformer2DModel

from masactrl_video.model.backbones.base import LoadedModel
from masactrl_video.model.backbones.branches import PLAIN, UNGUIDED, Branch, GuidanceRule
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.controls import PreparedControls
from masactrl_video.model.backbones.joint.backbone import Controlled, Inside, TransformerBackbone
from masactrl_video.model.backbones.joint.controls import PreparedPictures
from masactrl_video.model.backbones.joint.ragged import RaggedText, WrittenInto
from masactrl_video.model.backbones.parts import Pipeline, Tokenizer
from masactrl_video.model.backbones.readers import IN_CONVERSATION, TextReader
from masactrl_video.model.backbones.zimage.attention import TITLE, all_layers, attending, watch_calls
from masactrl_video.model.backbones.zimage.controls import load_control, prepare_controls, residuals
from masactrl_video.model.backbones.zimage.files import ZImageFiles

_MOST_TOKENS = 512
"""As diffusers' pipeline takes by default."""


class ZImageBackbone(TransformerBackbone):
    """The `Backbone` of Z-Image: Turbo, base and what is made of them."""

    title = TITLE
    pipelines = ("ZImagePipeline",)
    denoisers = ("ZImageTransformer2DModel",)
    files = ZImageFiles()
    inside = Inside(all_layers, attending, watch_calls)
    controlled = Controlled(load_control, prepare_controls)
    keys_have_places = True
    keys_can_move = True
    prompt_comes_first = True
    rules_guidance = True

    def tokenizer(self, pipe: Pipeline) -> Tokenizer:
        """Of a prompt as a question in a conversation, which is what the model reads."""
        own = cast(ZImagePipeline, pipe)
        return WrittenInto(own.tokenizer, partial(_asked, own), most=_most_tokens(own))

    def readers(self, pipe: Pipeline) -> Sequence[TextReader]:
        """The language model."""
        own = cast(ZImagePipeline, pipe)
        return (TextReader("tokenizer", IN_CONVERSATION, _most_tokens(own), around=partial(_asked, own)),)

    def longest_side_px(self, pipe: Pipeline) -> int:
        """The transformer's tables of rows and columns."""
        tokens: int = min(cast(ZImagePipeline, pipe).transformer.config.axes_lens[1:])
        return tokens * self.latents(pipe).multiple_px

    def own_branches(self, denoiser: torch.nn.Module) -> Sequence[Branch]:
        """Turbo's; of real guidance a pipeline has both branches in one call."""
        return UNGUIDED

    def guided(self, branches: torch.Tensor, guidance_scale: float, rule: GuidanceRule = PLAIN) -> torch.Tensor:
        """Away from the unconditional prediction as diffusers' pipeline counts it: by the scale, and once more."""
        if branches.shape[0] == 1:
            return branches[0]
        unconditional, conditional = branches[0], branches[1]
        guided = conditional + guidance_scale * (conditional - unconditional)
        if not rule.most_length:
            return guided
        for picture, own in zip(guided, conditional, strict=True):
            most, length = torch.linalg.vector_norm(own) * rule.most_length, torch.linalg.vector_norm(picture)
            if length > most:
                picture.mul_(most / length)
        return guided

    @torch.no_grad()
    def encode_prompt(
        self, model: LoadedModel, prompt: str, negative_prompt: str, guidance_scale: float, size_px: tuple[int, int]
    ) -> TextCondition:
        """Encode a prompt by the language model."""
        pipe = cast(ZImagePipeline, model.pipe)
        how = {"do_classifier_free_guidance": False, "max_sequence_length": _most_tokens(pipe)}
        encoded = self.encoded(model, prompt, negative_prompt, guidance_scale, **how)
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
        """The transformer's output, with what ControlNets add between its layers; it has the other sign.

        Both branches are in one call, the prompt's first, as in diffusers' pipeline.
        """
        assert isinstance(text, RaggedText)
        transformer, branches = cast(ZImageTransformer2DModel, model.denoiser), text.branches
        frames = model_input.shape[0]
        latents = list(model_input.repeat(branches, 1, 1, 1).unsqueeze(2).unbind())  # each (channels, 1, height, width)
        left = (1000 - timestep.expand(len(latents))) / 1000
        captions = [text.text(branch) for branch in reversed(range(branches)) for _ in range(frames)]
        added = None
        if controls is not None:
            assert isinstance(controls, PreparedPictures)
            added = residuals(controls, latents, left, captions, step, num_steps)
        out = transformer(latents, left, captions, controlnet_block_samples=added, return_dict=False)[0]
        return -torch.stack(out).reshape(branches, *model_input.shape).flip(0)


def _most_tokens(pipe: ZImagePipeline) -> int:
    """Tokens that are read of a prompt with the conversation around it."""
    return min(int(pipe.tokenizer.model_max_length), _MOST_TOKENS)


def _asked(pipe: ZImagePipeline, prompt: str) -> str:
    said: str = pipe.tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True, enable_thinking=True
    )
    return said
