"""Stage 3 and 4: the source, generated or real, recorded in the cache."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.parts import SourcePart
from masactrl_video.attention.plan import ControlPlan, plan_control
from masactrl_video.attention.recorded import SHARED
from masactrl_video.cache.holders import hold
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.controls.clip import read_fitted
from masactrl_video.controls.domain_check import OWN_MODEL, hint_if_foreign
from masactrl_video.errors import UserError, counted
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.memory import enough_memory
from masactrl_video.model.prompts import encode_prompt, find_words
from masactrl_video.model.sampling.denoise import Denoising
from masactrl_video.model.sampling.invert import check_invertible
from masactrl_video.model.sampling.latents import encode_picture, initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler
from masactrl_video.settings.acting import check_source_acts
from masactrl_video.settings.clip_parts import SizeSettings
from masactrl_video.settings.model_parts import SamplingSettings
from masactrl_video.settings.names import CacheDtype
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.cache_limit import cache_quota, cache_root
from masactrl_video.sources.record import ColourRule, ObjectWords, cached_source, check_recorded
from masactrl_video.sources.saved import open_saved, saved_caption, saved_index, saved_source
from masactrl_video.sources.source import Followed, GeneratedSource, RealSource, unique_branches
from masactrl_video.video.frame import Pictures
from masactrl_video.video.image_folder import read_image

logger = logging.getLogger(__name__)


class Canvas(Protocol):
    """What a source needs to know of the pictures that will follow it: a fitted clip, or a still picture's size."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width."""

    def frame(self, n: int, /) -> NDArray[np.uint8]:
        """The clip's n-th frame, for a source that is one."""


@dataclass(frozen=True)
class PlannedSource:
    """A source that is not yet made, and what of it will be recorded."""

    source: GeneratedSource | RealSource
    branches: Sequence[str]
    words: ObjectWords
    plan: ControlPlan
    scheduler: Schedule
    cache_dtype: CacheDtype = "exact"
    """How its keys and values are stored."""

    def record(self, model: DiffusionModel, settings: Settings) -> CachedSource:
        """The recorded source, from the cache or recorded now; that of a saved character is held for it."""
        root = cache_root(settings)
        steps, layers = counted(len(self.plan.steps), "step"), counted(len(self.plan.layers), "layer")
        logger.info("source: %s x %s x %s", steps, layers, counted(len(self.branches), "branch", "branches"))
        with enough_memory(f"the source on {model.device}"):
            source = cached_source(
                root,
                model,
                self.source,
                self.branches,
                self.plan,
                self.words,
                cache_quota(settings),
                self.cache_dtype,
                _colour_rule(settings, model, self.source) if settings.hold_colours else None,
            )
        if settings.character is not None:
            hold(source.entry.folder, saved_index(settings))
        check_recorded(source, source.latents, model.dtype)
        return source


def plan_source(settings: Settings, model: DiffusionModel, clip: Canvas, guidance: Sequence[Pictures]) -> PlannedSource:
    """Resolve the settings of the source against the model and the clip.

    Args:
        guidance: one for each network of the model, for a source that is generated under it.

    Raises:
        UserError: steps, layers, words or a scheduler that do not go together.
    """
    scheduler, plan = plan_attention(settings, model, clip.size_px)
    if not (plan.steps and plan.layers):
        logger.warning("no step or no layer is controlled (see masa_step, masa_layer): frames do not follow the source")
    if settings.character is not None:
        character = open_saved(settings)
        saved = saved_source(settings, model, character, scheduler, _source_words(settings), clip.size_px)
        return PlannedSource(*saved, plan=plan, scheduler=scheduler, cache_dtype=settings.cache_dtype)
    plan_for = _real if settings.real_source else _generated
    source, branches, words = plan_for(settings, model, clip, guidance, scheduler)
    return PlannedSource(source, branches, words, plan, scheduler, settings.cache_dtype)


def plan_generated_later(
    settings: Settings,
    model: DiffusionModel,
    clip: Canvas,
    guidance: Sequence[Pictures],
    first: CachedSource,
) -> PlannedSource:
    """A source that is its frame as the frame comes out against the first source, so that both show the same.

    Args:
        settings: of this source alone; `source_frame` is its frame.
        guidance: one for each network of the model.
        first: the first source.

    Raises:
        UserError: words that are not in the prompt.
    """
    scheduler, plan = plan_attention(settings, model, clip.size_px)
    alone, branches, words = _generated(settings, model, clip, guidance, scheduler)
    followed = Followed(
        [source_part(first, model, clip.size_px)],
        first.entry.folder.name,
        replace(plan, whole_every=1),
        mask_rule(settings, model, clip.size_px),
    )
    source = replace(alone, noise=shared_noise(settings, model, first, clip.size_px), followed=followed)
    return PlannedSource(source, branches, words, plan, scheduler, settings.cache_dtype)


def shared_noise(
    settings: SamplingSettings, model: DiffusionModel, source: CachedSource, size_px: tuple[int, int]
) -> torch.Tensor:
    """Initial noise (1, channels, height, width) of pictures of (height, width) px.

    It is the source's own (MasaCtrl, Sec. 5), or where a saved character has another size, noise of the seed.
    """
    noise = source.initial_noise
    own = tuple(noise.shape[-2:]) == model.latent_size(*size_px)
    return noise if own else initial_noise(model, size_px, settings.seed)


def source_part(source: CachedSource, model: DiffusionModel, size_px: tuple[int, int]) -> SourcePart:
    """A source for pictures of (height, width) px: a saved character may have another size than they."""
    own = tuple(source.initial_noise.shape[-2:])
    return SourcePart(source, None if own == model.latent_size(*size_px) else (own[0], own[1]))


def mask_rule(settings: Settings, model: DiffusionModel, size_px: tuple[int, int]) -> MaskRule | None:
    """Where masks of objects come from; None in modes without them.

    Raises:
        UserError: words that are not in the prompt, or a mask that cannot be used.
    """
    if not settings.masked:
        return None
    source_mask = None
    if settings.source_mask is not None:
        source_mask = read_mask(settings, settings.source_mask, size_px).to(model.device)
    by_words = settings.target_masks is None
    tokens = find_words(model.tokenizer, settings.prompt, settings.mask_words) if by_words else ()
    return MaskRule(tokens, settings.mask_threshold, source_mask)


def check_source_used(settings: Settings, model: DiffusionModel) -> None:
    """See that frames will follow their source, before anything is computed.

    Raises:
        UserError: no step or no layer is controlled, or see `plan_attention`.
    """
    check_source_acts(settings)
    _, plan = plan_attention(settings, model)
    if settings.masa_steps != [] and settings.masa_layers != []:
        plan.check_acts(settings.num_inference_steps)


def plan_attention(
    settings: Settings, model: DiffusionModel, size_px: tuple[int, int] | None = None
) -> tuple[Schedule, ControlPlan]:
    """The scheduler, and where the source is used: what can be checked before anything is computed.

    Args:
        size_px: height and width of the source; the model's own where the scheduler is only checked.

    Raises:
        UserError: steps, layers or a scheduler that the model does not have, words that are not in their prompt, or
            guidance or masks that no step would use.
    """
    _check_guidance_acts(model, settings.num_inference_steps)
    if settings.unguided_steps and len(model.backbone.branches(model.denoiser, settings.guidance_scale)) == 1:
        raise UserError("skip_uncond: this model has no unconditional branch at this guidance_scale; leave it out")
    if settings.real_source:
        check_invertible(make_scheduler(model, settings.scheduler, settings.num_inference_steps, size_px))
    if settings.masked and settings.target_masks is None:
        find_words(model.tokenizer, settings.prompt, settings.mask_words)
    if words := _source_words(settings):
        find_words(model.tokenizer, _source_caption(settings), words)
    scheduler, plan = planned_control(settings, model, size_px)
    if settings.save_masks and not (plan.steps and plan.layers):
        raise UserError("save_masks: there are no masks, because no step or no layer is controlled; see masa_step")
    return scheduler, plan


def planned_control(
    settings: Settings, model: DiffusionModel, size_px: tuple[int, int] | None = None
) -> tuple[Schedule, ControlPlan]:
    """The same, where all has been checked."""
    if settings.reuse_deep_features and not model.backbone.reuses_deep_features:
        raise UserError(f"reuse_deep_features: {model.backbone.title} has no blocks that could run alone; leave it out")
    scheduler = make_scheduler(model, settings.scheduler, settings.num_inference_steps, size_px)
    plan = plan_control(
        model.denoiser,
        settings.num_inference_steps,
        masa_step=settings.masa_step,
        masa_layer=settings.masa_layer,
        masa_steps=settings.masa_steps,
        masa_layers=settings.masa_layers,
        mode=settings.attention_mode,
        positions=settings.source_positions,
        mask_grid_divisor=settings.mask_grid_divisor if settings.mask_words or settings.source_mask_words else None,
    )
    return scheduler, replace(plan, whole_every=settings.reuse_deep_features or 1)


def _check_guidance_acts(model: DiffusionModel, num_steps: int) -> None:
    for network in model.networks:
        if not any(network.acts_at(step, num_steps) for step in range(num_steps)):
            raise UserError(
                f"guidance {network.name!r}: none of the {counted(num_steps, 'step')} lies whole between "
                f"{network.start:g} and {network.end:g}, where it acts; widen that"
            )


def _generated(
    settings: Settings, model: DiffusionModel, clip: Canvas, guidance: Sequence[Pictures], scheduler: Schedule
) -> tuple[GeneratedSource, Sequence[str], ObjectWords]:
    """From a prompt, under the guidance of the chosen frame."""
    prompt = _source_caption(settings)
    text = encode_prompt(model, prompt, settings.negative_prompt, settings.guidance_scale, clip.size_px)
    pictures = [np.stack([kind[settings.source_frame]]) for kind in guidance]
    source = GeneratedSource(
        Denoising(model, text, settings.guidance_scale, settings.seed),
        scheduler,
        initial_noise(model, clip.size_px, settings.seed),
        model.prepare_controls(pictures) if pictures else None,
    )
    words = _source_words(settings)
    tokens = find_words(model.tokenizer, prompt, words) if words else ()
    return source, text.names, ObjectWords(tokens)


def _real(
    settings: Settings, model: DiffusionModel, clip: Canvas, guidance: Sequence[Pictures], scheduler: Schedule
) -> tuple[RealSource, Sequence[str], ObjectWords]:
    """A given picture or the clip's own frame, inverted without guidance."""
    if settings.source_image is not None:
        picture = read_fitted(settings, settings.source_image, clip.size_px)
        if settings.model == OWN_MODEL:
            hint_if_foreign(model, read_image(settings.source_image), settings.source_image)
    else:
        picture = clip.frame(settings.source_frame)
    text = encode_prompt(
        model, settings.source_prompt or "", settings.negative_prompt, settings.guidance_scale, clip.size_px
    )
    text, branches = unique_branches(text, text.names, SHARED)
    source = RealSource(model, scheduler, encode_picture(model, picture), text)
    words = _source_words(settings)
    if not words:
        return source, branches, ObjectWords(())
    caption = _source_caption(settings)
    tokens = find_words(model.tokenizer, caption, words)
    return source, branches, ObjectWords(tokens, encode_prompt(model, caption, "", 1.0, clip.size_px))


def _colour_rule(settings: Settings, model: DiffusionModel, source: GeneratedSource | RealSource) -> ColourRule:
    if settings.source_mask is None:
        return ColourRule(settings.mask_threshold if settings.masked else None)
    latents = source.noise if isinstance(source, GeneratedSource) else source.picture_latents
    height, width = (side * model.vae_scale_factor for side in latents.shape[-2:])
    return ColourRule(mask=read_mask(settings, settings.source_mask, (height, width)).to(model.device))


def _source_caption(settings: Settings) -> str:
    """The text that names the source's object: its own prompt, or where an inverted source has none, a caption."""
    if settings.character is not None:
        return saved_caption(open_saved(settings))
    if settings.real_source:
        return settings.source_caption or settings.source_prompt or settings.prompt
    return settings.prompt if settings.source_prompt is None else settings.source_prompt


def _source_words(settings: Settings) -> Sequence[str]:
    """Words whose cross-attention gives the source's mask; none where a mask is given."""
    if not settings.masked or settings.source_mask is not None:
        return ()
    if settings.character is not None and settings.source_mask_words is None and settings.mask_words:
        return open_saved(settings).index.recipe.words or settings.mask_words
    return settings.source_mask_words or settings.mask_words


def read_mask(settings: SizeSettings, path: Path, size_px: tuple[int, int]) -> torch.Tensor:
    """A mask picture as (height, width) bool: white is the object."""
    mask = torch.from_numpy(read_fitted(settings, path, size_px, as_numbers=True)[..., 0] > 127)
    if mask.all() or not mask.any():
        raise UserError(
            f"{path}: the mask is {'all' if mask.all() else 'nowhere'} white; white is the object, black is not"
        )
    return mask
