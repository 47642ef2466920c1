"""Z-Image: a transformer with one stream of picture and caption, on a flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from diffusers import ZImagePipeline, ZImageTransformer2DModel

from masactrl_video.model.backbones.base import LoadedModel
from masactrl_video.model.backbones.branches import UNGUIDED, Branch
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.controls import PreparedControls
from masactrl_video.model.backbones.joint.backbone import Controlled, Inside, TransformerBackbone
from masactrl_video.model.backbones.joint.controls import PreparedPictures
from masactrl_video.model.backbones.joint.ragged import RaggedText, WrittenInto, branch_by_branch
from masactrl_video.model.backbones.parts import Pipeline, Tokenizer
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
    calls_each_branch = True

    def tokenizer(self, pipe: Pipeline) -> Tokenizer:
        """Of a prompt as a question in a conversation, which is what the model reads."""
        own = cast(ZImagePipeline, pipe).tokenizer

        def asked(prompt: str) -> str:
            said: str = own.apply_chat_template(
                [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True, enable_thinking=True
            )
            return said

        return WrittenInto(own, asked)

    def own_branches(self, denoiser: torch.nn.Module) -> Sequence[Branch]:
        """Turbo's; a pipeline has both branches of real guidance in one batch, which is refused."""
        return UNGUIDED

    def guided(self, branches: torch.Tensor, guidance_scale: float) -> torch.Tensor:
        """Away from the unconditional prediction as diffusers' pipeline counts it: by the scale, and once more."""
        if branches.shape[0] == 1:
            return branches[0]
        unconditional, conditional = branches[0], branches[1]
        return conditional + guidance_scale * (conditional - unconditional)

    @torch.no_grad()
    def encode_prompt(
        self, model: LoadedModel, prompt: str, negative_prompt: str, guidance_scale: float, size_px: tuple[int, int]
    ) -> TextCondition:
        """Encode a prompt by the language model."""
        pipe = cast(ZImagePipeline, model.pipe)
        most = min(int(pipe.tokenizer.model_max_length), _MOST_TOKENS)
        how = {"do_classifier_free_guidance": False, "max_sequence_length": most}
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
        """The transformer's output, with what ControlNets add between its layers; it has the other sign."""
        assert isinstance(text, RaggedText)
        transformer, frames = cast(ZImageTransformer2DModel, model.denoiser), model_input.shape[0]
        latents = list(model_input.unsqueeze(2).unbind())  # each (channels, 1, height, width)
        left = (1000 - timestep.expand(frames)) / 1000

        def call(branch: int) -> torch.Tensor:
            captions, added = [text.text(branch)] * frames, None
            if controls is not None:
                assert isinstance(controls, PreparedPictures)
                added = residuals(controls, latents, left, captions, step, num_steps)
            out = transformer(latents, left, captions, controlnet_block_samples=added, return_dict=False)[0]
            return -torch.stack(out).squeeze(2)

        return branch_by_branch(model, text, call)
