"""What backbones of transformers on a flow answer alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, cast

import numpy as np
import torch
from diffusers import AutoencoderKL, ModelMixin
from numpy.typing import NDArray

from masactrl_video.model.backbones.base import (
    AttentionLayer,
    Backbone,
    LayerKind,
    LoadedModel,
    PictureAttention,
    TextAttention,
)
from masactrl_video.model.backbones.branches import GUIDED, UNGUIDED, Branch
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.controls import ControlNetwork, NetworkChoice, PreparedControls
from masactrl_video.model.backbones.joint.controls import PreparedPictures, refuse_controls
from masactrl_video.model.backbones.joint.files import TransformerFiles
from masactrl_video.model.backbones.joint.layers import word_layers
from masactrl_video.model.backbones.joint.packing import PATCH
from masactrl_video.model.backbones.joint.some_tokens import CutMade, some_tokens
from masactrl_video.model.backbones.latents import LatentSpace
from masactrl_video.model.backbones.parts import Pipeline, Tokenizer
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.backbones.steps import DenoiserCall
from masactrl_video.model.sampling.flow import flow_schedule
from masactrl_video.model.unread import libraries_leave_it_to_us
from masactrl_video.settings.names import SchedulerName


class _Attending(Protocol):
    def __call__(
        self,
        denoiser: torch.nn.Module,
        to_picture: Mapping[str, PictureAttention],
        to_text: Mapping[str, Sequence[TextAttention]],
        /,
    ) -> AbstractContextManager[None]:
        """See `Backbone.attending`."""


class _Calls(Protocol):
    def __call__(
        self, denoiser: torch.nn.Module, on_begin: Callable[[DenoiserCall], None], on_end: Callable[[], None] | None, /
    ) -> AbstractContextManager[None]:
        """See `Backbone.calls`."""


class _ReadsPrompts(Protocol):
    def encode_prompt(self, prompt: str, *, device: torch.device, **how: int | bool) -> Sequence[torch.Tensor]:
        """As diffusers' pipelines have it: hidden states first."""


@dataclass(frozen=True)
class Inside:
    """A family's ways into its transformer."""

    layers: Callable[[torch.nn.Module], tuple[AttentionLayer, ...]]
    """See `Backbone.layers`."""
    attending: _Attending
    calls: _Calls


@dataclass(frozen=True)
class Controlled:
    """A family's ControlNets."""

    load: Callable[[NetworkChoice, torch.nn.Module], ControlNetwork]
    """See `Backbone.load_control`."""
    prepare: Callable[[LoadedModel, LatentSpace, Sequence[NDArray[np.uint8]]], PreparedControls]
    """See `Backbone.prepare_controls`; the space is that of the autoencoder's latents."""


@dataclass(frozen=True)
class TokensInside:
    """Where a family's transformer has something for each token of the picture (see `some_tokens`)."""

    arguments: Mapping[str, int]
    """Of a call, with the axis of the tokens."""
    made_inside: Mapping[str, CutMade] = field(default_factory=dict)
    """By parts of the network."""


class TransformerBackbone(Backbone):
    """The `Backbone` of a pipeline whose denoiser is its `transformer`, but for what differs from family to family."""

    denoiser_part = "transformer"
    files: TransformerFiles
    inside: Inside
    words_in: LayerKind = "joint"
    """Kind of the layers that tell where the prompt's words are."""
    tokens_inside: TokensInside | None = None
    """None: all tokens of a picture are computed."""
    controlled: Controlled | None = None
    """None: diffusers has no ControlNet of this family."""
    sigmas_are_even = True
    """Whether its pipeline gives the scheduler evenly spaced noise levels; else that takes its own."""

    def denoiser(self, pipe: Pipeline) -> ModelMixin:
        """The transformer."""
        return pipe.components["transformer"]

    def tokenizer(self, pipe: Pipeline) -> Tokenizer:
        """The only one, or the first."""
        return cast(Tokenizer, pipe.components["tokenizer"])

    def latents(self, pipe: Pipeline) -> LatentSpace:
        """As the autoencoder and the side of a token have them."""
        vae = cast(AutoencoderKL, pipe.components["vae"])
        factor: int = 2 ** (len(vae.config.block_out_channels) - 1)
        channels: int = vae.config.latent_channels
        return LatentSpace(channels, factor, factor * PATCH, self.native_size_px(pipe))

    def native_size_px(self, pipe: Pipeline) -> tuple[int, int]:
        """Height and width of the pictures that the model was trained on."""
        side: int = cast(AutoencoderKL, pipe.components["vae"]).config.sample_size
        return side, side

    def layers(self, denoiser: torch.nn.Module) -> tuple[AttentionLayer, ...]:
        """As the family's own function finds them."""
        return self.inside.layers(denoiser)

    def attending(
        self,
        denoiser: torch.nn.Module,
        to_picture: Mapping[str, PictureAttention],
        to_text: Mapping[str, Sequence[TextAttention]],
    ) -> AbstractContextManager[None]:
        """Inside the context, layers attend otherwise, by attention processors."""
        return self.inside.attending(denoiser, to_picture, to_text)

    @property
    def computes_some_tokens(self) -> bool:
        """Where it is known what the transformer has for each token."""
        return self.tokens_inside is not None

    def some_tokens(self, denoiser: torch.nn.Module, chosen: torch.Tensor) -> AbstractContextManager[None]:
        """Inside the context, calls compute the chosen tokens alone."""
        if self.tokens_inside is None:
            return super().some_tokens(denoiser, chosen)
        return some_tokens(denoiser, chosen, self.tokens_inside.arguments, self.tokens_inside.made_inside)

    def calls(
        self,
        denoiser: torch.nn.Module,
        on_begin: Callable[[DenoiserCall], None],
        on_end: Callable[[], None] | None = None,
    ) -> AbstractContextManager[None]:
        """Inside the context, each call of the transformer is told of."""
        return self.inside.calls(denoiser, on_begin, on_end)

    def map_layers(self, layers: Sequence[AttentionLayer], divisor: int) -> tuple[AttentionLayer, ...]:
        """All in which the picture reads the text."""
        return word_layers(layers, divisor, self.title, kind=self.words_in)

    def branches(self, denoiser: torch.nn.Module, guidance_scale: float) -> Sequence[Branch]:
        """Two with real guidance."""
        return GUIDED if guidance_scale > 1 else UNGUIDED

    def schedule(
        self, model: LoadedModel, name: SchedulerName, num_inference_steps: int, size_px: tuple[int, int]
    ) -> Schedule:
        """The model's own noise levels, which may depend on the size."""
        own, space = model.pipe.components["scheduler"], self.latents(model.pipe)
        self.files.check_scheduler(self.title, type(own).__name__)
        _, height, width = space.shape(size_px)
        tokens = (height // PATCH) * (width // PATCH)
        config = cast(Schedule, own).config
        return flow_schedule(config, model.device, name, num_inference_steps, tokens, even=self.sigmas_are_even)

    def encoded(
        self, model: LoadedModel, prompt: str, negative_prompt: str, guidance_scale: float, **how: int | bool
    ) -> list[Sequence[torch.Tensor]]:
        """What the pipeline's own `encode_prompt` gives for each branch alone; `how` are its further arguments."""
        pipe = cast(_ReadsPrompts, model.pipe)
        guided = self.branches(model.denoiser, guidance_scale) == GUIDED
        with libraries_leave_it_to_us():
            return [
                pipe.encode_prompt(text, device=model.device, **how)
                for text in ([negative_prompt, prompt] if guided else [prompt])
            ]

    def load_control(self, choice: NetworkChoice, denoiser: torch.nn.Module) -> ControlNetwork:
        """A ControlNet for transformers of this shape.

        Raises:
            UserError: there is none of this family, or this is none.
        """
        if self.controlled is None:
            raise refuse_controls(choice, self.title)
        return self.controlled.load(choice, denoiser)

    def prepare_controls(self, model: LoadedModel, pictures: Sequence[NDArray[np.uint8]]) -> PreparedControls:
        """The pictures as the autoencoder has them; nothing where the family has no ControlNets."""
        if self.controlled is None:
            return PreparedPictures()
        return self.controlled.prepare(model, self.latents(model.pipe), pictures)


def by_branch(out: torch.Tensor, text: TextCondition) -> torch.Tensor:
    """(branches x frames, channels, height, width) → (branches, frames, channels, height, width)."""
    return out.reshape(text.branches, -1, *out.shape[1:])
