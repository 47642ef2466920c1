"""Chroma: FLUX.1's blocks with one text encoder, and real guidance.

Tokens that only fill up a prompt count less than those of the prompt: diffusers adds 1 to the scores among all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from diffusers import ChromaPipeline, ChromaTransformer2DModel

from masactrl_video.model.backbones.base import AttentionLayer, LoadedModel
from masactrl_video.model.backbones.branches import GUIDED, Branch
from masactrl_video.model.backbones.chroma.files import ChromaFiles
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.controls import PreparedControls
from masactrl_video.model.backbones.flux.attention import attending
from masactrl_video.model.backbones.flux.calls import watch_calls
from masactrl_video.model.backbones.flux.layers import joint_layers, word_layers
from masactrl_video.model.backbones.flux.packing import places
from masactrl_video.model.backbones.joint.backbone import Inside, TransformerBackbone
from masactrl_video.model.backbones.joint.packing import PATCH, pack, unpack
from masactrl_video.model.backbones.joint.ragged import branch_by_branch
from masactrl_video.model.backbones.parts import Pipeline
from masactrl_video.model.backbones.readers import FIRST, TextReader

_MOST_TOKENS = 512
"""As diffusers' pipeline takes by default."""


@dataclass(frozen=True)
class ChromaText(TextCondition):
    """Prompts of the branches of one call."""

    mask: torch.Tensor | None = None
    """(branches, text tokens): 1 for those that count in full, 0 for those that only fill up."""


TITLE = "Chroma"


class ChromaBackbone(TransformerBackbone):
    """The `Backbone` of Chroma."""

    title = TITLE
    pipelines = ("ChromaPipeline",)
    denoisers = ("ChromaTransformer2DModel",)
    files = ChromaFiles()
    inside = Inside(joint_layers, partial(attending, title=TITLE), watch_calls)
    keys_have_places = True
    keys_can_move = True
    calls_each_branch = True

    def map_layers(self, layers: Sequence[AttentionLayer], divisor: int) -> tuple[AttentionLayer, ...]:
        """The blocks that keep text and picture apart."""
        return word_layers(layers, divisor)

    def own_branches(self, denoiser: torch.nn.Module) -> Sequence[Branch]:
        """Guided."""
        return GUIDED

    def readers(self, pipe: Pipeline) -> Sequence[TextReader]:
        """T5."""
        return (TextReader("tokenizer", FIRST.name, _most_tokens(pipe)),)

    @torch.no_grad()
    def encode_prompt(
        self, model: LoadedModel, prompt: str, negative_prompt: str, guidance_scale: float, size_px: tuple[int, int]
    ) -> TextCondition:
        """Encode a prompt by T5."""
        how = {"do_classifier_free_guidance": False, "max_sequence_length": _most_tokens(model.pipe)}
        encoded = self.encoded(model, prompt, negative_prompt, guidance_scale, **how)
        hidden, mask = (torch.cat([one[part] for one in encoded]).to(model.dtype) for part in (0, 2))
        return ChromaText(hidden, mask)

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
        assert isinstance(text, ChromaText)
        transformer, frames = cast(ChromaTransformer2DModel, model.denoiser), model_input.shape[0]
        height, width = model_input.shape[-2:]
        tokens, mask = pack(model_input), cast(torch.Tensor, text.mask)

        def call(branch: int) -> torch.Tensor:
            prompt = text.hidden_states[branch]
            counts = torch.cat([mask[branch], mask.new_ones(tokens.shape[1])])
            out = transformer(
                hidden_states=tokens,
                encoder_hidden_states=prompt.expand(frames, -1, -1),
                timestep=timestep.expand(frames).to(tokens.dtype) / 1000,
                txt_ids=prompt.new_zeros(prompt.shape[0], 3),
                img_ids=places((height // PATCH, width // PATCH)).to(tokens.device, tokens.dtype),
                attention_mask=counts.expand(frames, -1),
                return_dict=False,
            )[0]
            return unpack(out, height, width)

        return branch_by_branch(model, text, call)


def _most_tokens(pipe: Pipeline) -> int:
    """Tokens of a prompt."""
    return min(int(cast(ChromaPipeline, pipe).tokenizer.model_max_length), _MOST_TOKENS)
