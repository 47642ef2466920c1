"""Stage 3 and 4: the source, generated or real, recorded in the cache."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from masactrl_video.attention.parts import SourcePart
from masactrl_video.attention.plan import ControlPlan
from masactrl_video.cache.holders import hold
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.controls.clip import read_fitted
from masactrl_video.controls.domain_check import hint_if_foreign
from masactrl_video.errors import counted
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.memory import enough_memory
from masactrl_video.model.prompts import encode_prompt, find_words
from masactrl_video.model.sampling.colours import HeldColours
from masactrl_video.model.sampling.denoise import Denoising
from masactrl_video.model.sampling.latents import encode_picture, initial_noise
from masactrl_video.poses.warp import Skeletons
from masactrl_video.settings.model_parts import SamplingSettings
from masactrl_video.settings.names import OWN_MODELS, CacheDtype
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.cache_limit import cache_quota, cache_root, is_kept_live
from masactrl_video.sources.characters.kind import characters_of, is_kept_reference
from masactrl_video.sources.control import (
    guidance_rule,
    mask_rule,
    plan_attention,
    read_mask,
    recorded_plan,
    source_attributes,
    source_caption,
    source_words,
)
from masactrl_video.sources.record import (
    ColourRule,
    ObjectWords,
    cached_source,
    check_recorded,
    expected_bytes,
    live_bytes,
)
from masactrl_video.sources.reference import ReferenceSource, cached_references
from masactrl_video.sources.saved import open_saved, saved_caption, saved_index, saved_references, saved_source
from masactrl_video.sources.source import Followed, GeneratedSource, RealSource, inverted_text, relative_error
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

    source: GeneratedSource | RealSource | ReferenceSource
    branches: Sequence[str]
    words: ObjectWords
    plan: ControlPlan
    scheduler: Schedule
    cache_dtype: CacheDtype = "exact"
    """How its keys and values are stored."""

    def record(self, model: DiffusionModel, settings: Settings, *, may_be_live: bool = False) -> CachedSource:
        """The recorded source, from the cache or recorded now; that of a saved character is held for it.

        Args:
            may_be_live: whether who follows it can have it made again (see `sources.live`), if the settings want that.
        """
        root = cache_root(settings)
        if isinstance(self.source, ReferenceSource):
            kept = cached_references(root, model, self.source, cache_quota(settings))
            hold(kept.entry.folder, saved_index(settings))
            return kept
        plan = recorded_plan(settings, model, self.plan)
        steps, layers = counted(len(plan.steps), "step"), counted(len(plan.layers), "layer")
        needed = expected_bytes(model, self.source, len(self.branches), plan, self.cache_dtype)
        branches = counted(len(self.branches), "branch", "branches")
        logger.info("source: %s x %s x %s: %.1f MB of keys and values", steps, layers, branches, needed / 1e6)
        live = may_be_live and is_kept_live(settings, needed, live_bytes(self.source))
        with enough_memory(f"the source on {model.device}"):
            source = cached_source(
                root,
                model,
                self.source,
                self.branches,
                plan,
                self.words,
                cache_quota(settings),
                self.cache_dtype,
                _colour_rule(settings, model, self.source) if settings.hold_colours else None,
                levels=settings.background == "still",
                live=live,
            )
        if settings.character is not None:
            hold(source.entry.folder, saved_index(settings))
        check_recorded(source, source.latents, model.dtype)
        if (error := self.reconstruction_error(source)) is not None:
            logger.info("source: inverted and made again, the picture's latents are off by %.2g of their size", error)
        return source

    def reconstruction_error(self, recorded: CachedSource) -> float | None:
        """How far a real picture's latents, inverted and made again, are from themselves (see `relative_error`)."""
        if not isinstance(self.source, RealSource):
            return None
        return relative_error(recorded.latents, self.source.picture_latents)


def plan_source(settings: Settings, model: DiffusionModel, clip: Canvas, guidance: Sequence[Pictures]) -> PlannedSource:
    """Resolve the settings of the source against the model and the clip.

    Args:
        guidance: one for each network of the model, for a source that is generated under it.

    Raises:
        UserError: steps, layers, words or a scheduler that do not go together.
    """
    scheduler, plan = plan_attention(settings, model, clip.size_px)
    if is_kept_reference(settings):
        logger.info(
            "source: the reference of %s alone: masa_step and masa_layer have no part in it", settings.character
        )
        return PlannedSource(
            saved_references(settings, model, characters_of(settings)), (), ObjectWords(()), plan, scheduler
        )
    if not (plan.steps and plan.layers):
        logger.warning("no step or no layer is controlled (see masa_step, masa_layer): frames do not follow the source")
    if settings.character is not None:
        character = open_saved(settings)
        named = source_words(settings)
        source, branches, words = saved_source(settings, model, character, scheduler, named, clip.size_px)
        if named:
            words = replace(words, attributes=source_attributes(settings, model, saved_caption(character)))
        return PlannedSource(source, branches, words, plan, scheduler, settings.cache_dtype)
    plan_for = _real if settings.real_source else _generated
    source, branches, words = plan_for(settings, model, clip, guidance, scheduler)
    return PlannedSource(source, branches, words, plan, scheduler, settings.cache_dtype)


def recorded_references(settings: Settings, model: DiffusionModel) -> CachedSource | None:
    """What stands beside every frame, whichever source that follows; with a character that is a reference, it is it.

    Raises:
        UserError: see `check_references`.
    """
    if not settings.references or is_kept_reference(settings):
        return None
    source = saved_references(settings, model, settings.references)
    kept = cached_references(cache_root(settings), model, source, cache_quota(settings))
    hold(kept.entry.folder, saved_index(settings, settings.references[0]))
    return kept


def plan_generated_later(
    settings: Settings,
    model: DiffusionModel,
    clip: Canvas,
    guidance: Sequence[Pictures],
    first: CachedSource,
    skeletons: Skeletons | None = None,
) -> PlannedSource:
    """A source that is its frame as the frame comes out against the first source, so that both show the same.

    Args:
        settings: of this source alone; `source_frame` is its frame.
        guidance: one for each network of the model.
        first: the first source.
        skeletons: of the first source and of this one, where its keys go with the limbs.

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
        skeletons,
        held_colours(settings, [first.colours]) if first.colours is not None else None,
    )
    source = replace(alone, noise=shared_noise(settings, model, first, clip.size_px), followed=followed)
    return PlannedSource(source, branches, words, plan, scheduler, settings.cache_dtype)


def shared_noise(
    settings: SamplingSettings, model: DiffusionModel, source: CachedSource, size_px: tuple[int, int]
) -> torch.Tensor:
    """Initial noise (1, channels, height, width) of pictures of (height, width) px.

    It is the source's own (MasaCtrl, Sec. 5), or where a saved character has another size, noise of the seed.
    """
    if source.has_references:
        return initial_noise(model, size_px, settings.seed)
    noise = source.initial_noise
    own = tuple(noise.shape[-2:]) == model.latent_size(*size_px)
    return noise if own else initial_noise(model, size_px, settings.seed)


def source_part(source: CachedSource, model: DiffusionModel, size_px: tuple[int, int]) -> SourcePart:
    """A source for pictures of (height, width) px: a saved character may have another size than they."""
    own = tuple(source.initial_noise.shape[-2:])
    return SourcePart(source, None if own == model.latent_size(*size_px) else (own[0], own[1]))


def held_colours(settings: Settings, colours: Sequence[torch.Tensor]) -> HeldColours:
    """The colours of sources (steps, regions, 2, channels), and from when on, and how much, they are held."""
    steps = settings.num_inference_steps
    first = min(steps - 1, round(settings.colours_from * steps))
    return HeldColours(torch.stack(list(colours)), settings.hold_colours, first)


def _generated(
    settings: Settings, model: DiffusionModel, clip: Canvas, guidance: Sequence[Pictures], scheduler: Schedule
) -> tuple[GeneratedSource, Sequence[str], ObjectWords]:
    """From a prompt, under the guidance of the chosen frame."""
    prompt = source_caption(settings)
    guided = (settings.guidance_scale, clip.size_px, settings.true_cfg_scale)
    text = encode_prompt(model, prompt, settings.negative_prompt, *guided)
    pictures = [np.stack([kind[settings.source_frame]]) for kind in guidance]
    source = GeneratedSource(
        Denoising(model, text, settings.branch_scale, settings.seed, rule=guidance_rule(settings)),
        scheduler,
        initial_noise(model, clip.size_px, settings.seed),
        model.prepare_controls(pictures) if pictures else None,
        pictures=pictures,
    )
    words = source_words(settings)
    tokens = find_words(model.tokenizer, prompt, words) if words else ()
    attributes = source_attributes(settings, model, prompt) if words else ()
    return source, text.names, ObjectWords(tokens, attributes=attributes)


def _real(
    settings: Settings, model: DiffusionModel, clip: Canvas, guidance: Sequence[Pictures], scheduler: Schedule
) -> tuple[RealSource, Sequence[str], ObjectWords]:
    """A given picture or the clip's own frame, inverted without guidance."""
    if settings.source_image is not None:
        picture = read_fitted(settings, settings.source_image, clip.size_px)
        if settings.model in OWN_MODELS:
            hint_if_foreign(model, read_image(settings.source_image), settings.source_image)
    else:
        picture = clip.frame(settings.source_frame)
    text, branches = inverted_text(
        settings, model, settings.source_prompt or "", settings.negative_prompt, clip.size_px
    )
    source = RealSource(model, scheduler, encode_picture(model, picture), text)
    words = source_words(settings)
    if not words:
        return source, branches, ObjectWords(())
    caption = source_caption(settings)
    tokens = find_words(model.tokenizer, caption, words)
    attributes = source_attributes(settings, model, caption)
    return source, branches, ObjectWords(tokens, encode_prompt(model, caption, "", 1.0, clip.size_px), attributes)


def _colour_rule(settings: Settings, model: DiffusionModel, source: GeneratedSource | RealSource) -> ColourRule:
    if settings.source_mask is None:
        return ColourRule(settings.mask_threshold if settings.masked else None)
    latents = source.noise if isinstance(source, GeneratedSource) else source.picture_latents
    height, width = (side * model.vae_scale_factor for side in latents.shape[-2:])
    return ColourRule(mask=read_mask(settings, settings.source_mask, (height, width)).to(model.device))
