"""Prompts as FLUX.2 reads them: inside a conversation with a language model, filled up to a fixed length."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TypeAlias

import torch
from diffusers import Flux2KleinKVPipeline, Flux2KleinPipeline, Flux2Pipeline
from diffusers.pipelines.flux2.pipeline_flux2 import format_input

from masactrl_video.model.backbones.base import LoadedModel
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.parts import Tokenizer, Tokens
from masactrl_video.model.unread import libraries_leave_it_to_us
from masactrl_video.settings.presets import shortened

logger = logging.getLogger(__name__)

AnyPipeline: TypeAlias = Flux2Pipeline | Flux2KleinPipeline | Flux2KleinKVPipeline

_MOST_TOKENS = 512
"""As diffusers' pipelines take by default."""


@dataclass(frozen=True)
class Flux2Text(TextCondition):
    """Prompts of the branches of one call."""

    guidance: torch.Tensor | None = None
    """(branches,), the scale that networks of distilled guidance read."""


def max_tokens(pipe: AnyPipeline) -> int:
    """Tokens of a prompt, with those that fill it up."""
    own = pipe.tokenizer.tokenizer if isinstance(pipe, Flux2Pipeline) else pipe.tokenizer
    return min(int(own.model_max_length), _MOST_TOKENS)


@torch.no_grad()
def encode_prompts(model: LoadedModel, prompts: list[str], guidance_scale: float) -> Flux2Text:
    """Encode the prompts of all branches.

    Args:
        prompts: one for each branch.
        guidance_scale: what networks of distilled guidance read.
    """
    pipe: AnyPipeline = model.pipe
    most, tokenizer = max_tokens(pipe), InConversation(pipe)
    for prompt in prompts:
        if (tokens := tokenizer.whole_length(prompt)) > most:
            logger.warning(
                "prompt: the model reads %d tokens with the conversation around it, it has %d; shorten %r",
                most,
                tokens,
                shortened(prompt),
            )
    with libraries_leave_it_to_us():
        encoded = [
            pipe.encode_prompt(prompt, device=model.device, max_sequence_length=most)[0].to(model.dtype)
            for prompt in prompts
        ]
    guidance = torch.full([len(prompts)], guidance_scale, device=model.device, dtype=torch.float32)
    return Flux2Text(torch.cat(encoded), guidance)


@dataclass(frozen=True)
class _Ids:
    input_ids: list[int]


class InConversation(Tokenizer):
    """The tokenizer of the language model, for prompts inside the conversation that a pipeline makes of them."""

    def __init__(self, pipe: AnyPipeline) -> None:
        self._pipe = pipe

    @property
    def model_max_length(self) -> int:
        """Tokens that the transformer reads."""
        return max_tokens(self._pipe)

    def __call__(self, text: str, **options: bool | int) -> Tokens:
        """A prompt as it stands before the transformer, filled up; a part of one, without special tokens, alone."""
        own = self._pipe.tokenizer
        if options.get("add_special_tokens") is False:
            plain: Tokenizer = own.tokenizer if isinstance(self._pipe, Flux2Pipeline) else own
            return plain(text, **options)
        return _Ids(self._read(text, padding="max_length", truncation=True, max_length=self.model_max_length))

    def whole_length(self, text: str) -> int:
        """Tokens of a prompt, also those that are left out, with the conversation."""
        return len(self._read(text))

    def _read(self, text: str, **how: str | bool | int) -> list[int]:
        """A prompt in its conversation, as the pipeline reads it."""
        own = self._pipe.tokenizer
        if not isinstance(self._pipe, Flux2Pipeline):
            said = [{"role": "user", "content": text}]
            asked = own.apply_chat_template(said, tokenize=False, add_generation_prompt=True, enable_thinking=False)
            return list(own(asked, verbose=False, **how).input_ids)
        said = format_input(prompts=[text], system_message=self._pipe.system_message)
        with libraries_leave_it_to_us():
            read = own.apply_chat_template(
                said, add_generation_prompt=False, tokenize=True, return_dict=True, return_tensors="pt", **how
            )
        ids: list[int] = read["input_ids"][0].tolist()
        return ids
