"""What a family of models (a backbone) must be able to do, so that everything else need not know its architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.branches import GUIDED, PLAIN, Branch, GuidanceRule, classifier_free_guidance
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.controls import ControlNetwork, NetworkChoice, PreparedControls
from masactrl_video.model.backbones.files import ModelFiles
from masactrl_video.model.backbones.latents import LatentSpace
from masactrl_video.model.backbones.parts import Pipeline, Tokenizer
from masactrl_video.model.backbones.qkv import QKV
from masactrl_video.model.backbones.readers import FIRST, SECOND, TextReader
from masactrl_video.model.backbones.references import JoinedReferences, KeptReference
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.backbones.steps import DenoiserCall, StepClock
from masactrl_video.model.backbones.window import Window
from masactrl_video.settings.names import SchedulerName

LayerKind = Literal["self", "joint"]
"""`self`: the picture's tokens attend to each other, and to the text in another layer; `joint`: to both at once."""


class AttentionLayer(Protocol):
    """One layer in which a picture's tokens attend to each other."""

    @property
    def index(self) -> int:
        """Position in forward order, from 0: MasaCtrl's layer number."""

    @property
    def name(self) -> str:
        """Name of the attention module: the key of what is recorded of it."""

    @property
    def block(self) -> str:
        """Name of the block that it is part of, which a user may write instead."""

    @property
    def kind(self) -> LayerKind:
        """How the text takes part."""

    @property
    def downscale(self) -> int:
        """Side of the latents divided by the side of this layer's grid."""

    @property
    def key_channels(self) -> int:
        """Channels of this layer's keys, all heads together."""

    @property
    def is_outermost(self) -> bool:
        """Whether it runs at every step, also at those that reuse deep features."""

    def grid(self, latent_size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the layer's tokens for latents of `latent_size` (height, width)."""


class PictureAttention(Protocol):
    """What is done in place of the picture's attention to itself, in one layer."""

    def __call__(self, layer: AttentionLayer, qkv: QKV) -> torch.Tensor | None:
        """What the tokens attend to, (rows, tokens, heads x head_dim), before the output projection.

        In a joint layer it may be (rows, text tokens + tokens, ...): what the prompt's tokens attend to stands first;
        where that is left out, they attend to their own text and picture, as the network has it.

        None: attention is as the network has it. `qkv` may be looked at in that case too.
        """


class TextCall(Protocol):
    """One call of the attention from the picture's tokens to the prompt."""

    @property
    def rows(self) -> int:
        """Branches x frames."""

    def word_map(self, words: Sequence[int], rows: slice, text: torch.Tensor | None = None) -> torch.Tensor:
        """How much each token of the picture attends to some words: mean over heads, sum over words.

        Args:
            words: positions of their tokens in the prompt.
            rows: of which rows.
            text: (rows, text tokens, channels), a prompt that is read instead of the call's own.

        Returns:
            (rows, tokens) in float32.
        """

    def reading(self, last_rows: int, tokens: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """What some tokens would get from another prompt.

        Args:
            last_rows: of so many rows, the last ones.
            tokens: (tokens,) bool, which.
            text: (last_rows, text tokens, channels).

        Returns:
            (last_rows, chosen tokens, channels), after the output projection.
        """


def no_other_prompt(title: str) -> UserError:
    """What a family says that cannot give parts of a picture prompts of their own (see `reads_prompts_by_region`)."""
    return UserError(
        f"regions with prompts of their own: {title} reads one prompt for the whole picture; leave the prompts out"
    )


class TextAttention(Protocol):
    """What is added to the picture's attention to the prompt, in one layer."""

    def __call__(self, layer: AttentionLayer, call: TextCall, out: torch.Tensor) -> torch.Tensor:
        """What goes on instead of `out` (rows, tokens, channels), which came out so far; or `out` itself."""


class LoadedModel(Protocol):
    """What a backbone asks of a loaded model."""

    @property
    def pipe(self) -> Pipeline:
        """The diffusers pipeline."""

    @property
    def device(self) -> torch.device:
        """Where the denoiser computes."""

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the denoiser."""

    @property
    def denoiser(self) -> torch.nn.Module:
        """The network that predicts the noise."""

    @property
    def clock(self) -> StepClock:
        """The denoising step in progress, and of which rows a call consists."""

    @property
    def networks(self) -> Sequence[ControlNetwork]:
        """Networks that steer the denoiser by control images, as the backbone loaded them."""

    @property
    def references(self) -> JoinedReferences:
        """Kept references that stand beside every picture."""


@runtime_checkable
class Backbone(Protocol):
    """A family of models with one architecture; what names that architecture lies in the backbone's own folder."""

    @property
    def title(self) -> str:
        """What people call these models, for messages."""

    @property
    def pipelines(self) -> Sequence[str]:
        """Class names of the diffusers pipelines of this family."""

    @property
    def denoisers(self) -> Sequence[str]:
        """Class names of their denoisers."""

    @property
    def denoiser_part(self) -> str:
        """Name of the denoiser among the parts of a pipeline."""

    @property
    def files(self) -> ModelFiles:
        """How these models are found and loaded."""

    def denoiser(self, pipe: Pipeline) -> torch.nn.Module:
        """The network of a pipeline that predicts the noise."""

    def tokenizer(self, pipe: Pipeline) -> Tokenizer:
        """That of the prompt which the picture's tokens attend to: words are looked up in it."""

    def latents(self, pipe: Pipeline) -> LatentSpace:
        """The latents of a loaded pipeline."""

    def readers(self, pipe: Pipeline) -> Sequence[TextReader]:
        """The text encoders, to tell what of a prompt they do not read."""
        return FIRST, SECOND

    def longest_side_px(self, pipe: Pipeline) -> int | None:
        """The most that a picture may have on a side, where the denoiser has a table of places; None: any."""
        return None

    @property
    def keys_have_places(self) -> bool:
        """Whether places are put into keys (rotary positions), so that a source's may be put elsewhere."""
        return False

    @property
    def keys_can_move(self) -> bool:
        """Whether each of a source's keys may be put at a place of its own (see `QKV.placed_at`)."""
        return False

    @property
    def denoises_windows(self) -> bool:
        """Whether a part of the latents can be denoised as if it were the picture: no place in it is known as such."""
        return False

    @property
    def reads_prompts_by_region(self) -> bool:
        """Whether parts of a picture can read prompts of their own (see `TextCall.reading`)."""
        return False

    @property
    def reuses_deep_features(self) -> bool:
        """Whether its outermost blocks can run alone (see `outermost_alone`)."""
        return False

    @property
    def reads_reference_pictures(self) -> bool:
        """Whether it reads pictures beside its own, by which guidance can go (see `AdapterKind`)."""
        return False

    def patches(self, network: torch.nn.Module) -> dict[str, JsonValue]:
        """What was patched on a network besides its weights, its configuration and LoRAs: part of its identity."""
        return {}

    def layers(self, denoiser: torch.nn.Module) -> tuple[AttentionLayer, ...]:
        """All layers in which the picture attends to itself, in forward order.

        Raises:
            UserError: a network whose tokens are no single picture's.
        """

    def map_layers(self, layers: Sequence[AttentionLayer], divisor: int) -> tuple[AttentionLayer, ...]:
        """Those of `layers` whose attention to words makes the object masks: grid side = latent side / `divisor`.

        Raises:
            UserError: there are none.
        """

    def attending(
        self,
        denoiser: torch.nn.Module,
        to_picture: Mapping[str, PictureAttention],
        to_text: Mapping[str, Sequence[TextAttention]],
    ) -> AbstractContextManager[None]:
        """Inside the context, layers (by name) attend otherwise; afterwards as before, after an exception too.

        Args:
            to_picture: what takes the place of the picture's attention to itself.
            to_text: what is added to its attention to the prompt, one after the other.
        """

    def calls(
        self,
        denoiser: torch.nn.Module,
        on_begin: Callable[[DenoiserCall], None],
        on_end: Callable[[], None] | None = None,
    ) -> AbstractContextManager[None]:
        """Inside the context, `on_begin` and `on_end` are called at the start and the end of each call."""

    @property
    def computes_some_tokens(self) -> bool:
        """Whether a call may compute some of a picture's tokens alone (see `some_tokens`)."""
        return False

    def some_tokens(self, denoiser: torch.nn.Module, chosen: torch.Tensor) -> AbstractContextManager[None]:
        """Inside the context, calls compute the chosen tokens (tokens,) bool; what comes out for the others is 0.

        All layers see these alone, in their order: who controls the layers gives them keys and values of the others.
        """
        raise RuntimeError(f"{self.title} computes all tokens")

    def distils_guidance(self, denoiser: torch.nn.Module) -> bool:
        """Whether the network reads a guidance scale itself, so that real guidance may stand beside it."""
        return False

    def branches(self, denoiser: torch.nn.Module, guidance_scale: float) -> Sequence[Branch]:
        """The rows of a call at this guidance scale: two where it is classifier-free guidance, else one."""

    def own_branches(self, denoiser: torch.nn.Module) -> Sequence[Branch]:
        """The rows of a call that a pipeline of diffusers makes by default."""
        return GUIDED

    @property
    def rules_guidance(self) -> bool:
        """Whether its pipeline has a `GuidanceRule` (`cfg_normalization` and `cfg_truncation`)."""
        return False

    @property
    def prompt_comes_first(self) -> bool:
        """Whether in a call of both branches the prompt's own rows come before those of the negative prompt.

        Each call's `DenoiserCall.is_doubled` tells then whether it is one of both.
        """
        return False

    @property
    def calls_each_branch(self) -> bool:
        """Whether each branch has a call of its own, the prompt's before that of the negative prompt.

        So it is where the two have texts of different lengths, and where a pipeline of diffusers does so. `predict`
        names the branch of each call then, by `LoadedModel.clock`, unless it makes one call of all
        (`StepClock.joins_branches`); in a pipeline the calls come in this order.
        """
        return False

    def guided(self, branches: torch.Tensor, guidance_scale: float, rule: GuidanceRule = PLAIN) -> torch.Tensor:
        """(branches, frames, channels, height, width), what `predict` gave → (frames, ...), what the schedule takes.

        Args:
            rule: another than the plain one only where the family `rules_guidance`; until when it guides is left to
                the loop.
        """
        return classifier_free_guidance(branches, guidance_scale)

    def encode_prompt(
        self, model: LoadedModel, prompt: str, negative_prompt: str, guidance_scale: float, size_px: tuple[int, int]
    ) -> TextCondition:
        """Encode a prompt, with the negative prompt as first branch where there are two (see `branches`).

        Args:
            size_px: height and width of the pictures.
        """

    def schedule(
        self, model: LoadedModel, name: SchedulerName, num_inference_steps: int, size_px: tuple[int, int]
    ) -> Schedule:
        """A scheduler with its timesteps set, each of which it visits once.

        Args:
            size_px: height and width of the pictures; the noise levels of a flow depend on it.

        Raises:
            UserError: a scheduler or a number of steps that this model cannot have.
        """

    def load_control(self, choice: NetworkChoice, denoiser: torch.nn.Module) -> ControlNetwork:
        """Load a network that steers `denoiser` by control images, on its device and in its number format.

        Raises:
            UserError: not to be found, of a wrong kind, or made for another kind of model.
        """

    def prepare_controls(self, model: LoadedModel, pictures: Sequence[NDArray[np.uint8]]) -> PreparedControls:
        """Prepare a batch: `pictures[i]` (frames, height, width, 3) belongs to `model.networks[i]`.

        Raises:
            UserError: pictures that a network cannot read.
        """

    def takes_references(self, denoiser: torch.nn.Module) -> bool:
        """Whether what a reference picture offers can be kept: it depends on no step, no prompt and no size."""
        return False

    def record_reference(self, model: LoadedModel, picture: NDArray[np.uint8]) -> KeptReference:
        """What a picture, RGB (height, width, 3), offers as a reference.

        Raises:
            UserError: this model keeps none, or a size that it does not take.
        """
        raise UserError(f"reference: {self.title} keeps none; take FLUX.2 klein-kv")

    def join_references(self, model: LoadedModel, references: Sequence[KeptReference]) -> JoinedReferences:
        """References in the order in which they are counted, to be put into the model.

        Raises:
            UserError: this model takes none, or one was recorded with another.
        """
        if references:
            raise UserError(f"reference: {self.title} takes none that is kept; take FLUX.2 klein-kv")
        return JoinedReferences()

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
        """The denoiser's output for all branches of a batch of frames.

        Args:
            model_input: (frames, channels, height, width), scaled as the schedule wants it.
            controls: of these frames, as the backbone prepared them.
            step: index of the denoising step, from 0, of `num_steps`.

        Returns:
            (branches, frames, channels, height, width).
        """

    def controls_in(self, controls: PreparedControls, part: Mapping[int, Window | None]) -> PreparedControls:
        """Prepared controls for some frames of a batch, in the window of each; for those that denoise windows alone."""
        raise UserError(f"{self.title} denoises pictures as a whole")

    def prompts_once(self, model: LoadedModel, prompts: Sequence[TextCondition]) -> AbstractContextManager[None]:
        """Inside the context, what is computed of these prompts alone may be kept from step to step."""
        return nullcontext()

    def keeping_deep_features(self, model: LoadedModel) -> AbstractContextManager[list[torch.Tensor]]:
        """Inside the context, every whole call adds the deep features that later steps may reuse."""
        raise UserError(f"reuse_deep_features: {self.title} has no outermost blocks that could run alone; leave it out")

    def outermost_alone(self, model: LoadedModel, deep_features: torch.Tensor) -> AbstractContextManager[None]:
        """Inside the context, the outermost blocks run alone, around deep features of an earlier step."""
        raise UserError(f"reuse_deep_features: {self.title} has no outermost blocks that could run alone; leave it out")
