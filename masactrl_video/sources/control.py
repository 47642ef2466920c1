"""Where a source is used: which steps and layers follow it, and where its object is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.plan import ControlPlan, plan_control
from masactrl_video.controls.clip import read_fitted
from masactrl_video.errors import UserError, counted
from masactrl_video.model.backbones.branches import GuidanceRule
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import check_real_guidance, check_region_prompts, find_words
from masactrl_video.model.sampling.invert import check_invertible
from masactrl_video.model.sampling.schedulers import make_scheduler
from masactrl_video.settings.acting import check_source_acts
from masactrl_video.settings.clip_parts import SizeSettings
from masactrl_video.settings.model_parts import SamplingSettings
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.characters.kind import is_kept_reference
from masactrl_video.sources.reference import NOTHING, check_named, check_references
from masactrl_video.sources.saved import open_saved, saved_caption


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
    attributes = find_attributes(settings, model, settings.prompt) if by_words else ()
    threshold, rim, cells = settings.mask_threshold, settings.mask_rim, settings.mask_cells
    return MaskRule(tokens, threshold, source_mask, rim, attributes, cells)


def find_attributes(settings: Settings, model: DiffusionModel, prompt: str) -> tuple[tuple[int, ...], ...]:
    """Positions in a prompt of the words of each thing that the object wears.

    Raises:
        UserError: one that is not in it.
    """
    return tuple(find_words(model.tokenizer, prompt, [word], "mask_attributes") for word in settings.mask_attributes)


def source_attributes(settings: Settings, model: DiffusionModel, prompt: str) -> tuple[tuple[int, ...], ...]:
    """The same in a source's own text; none where it has words or a mask of its own."""
    own = settings.source_mask is not None or settings.source_mask_words is not None
    return find_attributes(settings, model, prompt) if settings.masked and not own else ()


def check_source_used(settings: Settings, model: DiffusionModel) -> None:
    """See that frames will follow their source, before anything is computed.

    Raises:
        UserError: no step or no layer is controlled, or see `plan_attention`.
    """
    if is_kept_reference(settings):
        plan_attention(settings, model)
        return
    check_source_acts(settings)
    _, plan = plan_attention(settings, model)
    if settings.masa_steps != [] and settings.masa_layers != []:
        plan.check_acts(settings.num_inference_steps)


def guidance_rule(settings: SamplingSettings) -> GuidanceRule:
    """What the settings say of real guidance beside its scale."""
    return GuidanceRule(settings.cfg_normalization, settings.cfg_truncation)


def _check_guidance_rule(settings: SamplingSettings, model: DiffusionModel) -> None:
    if model.backbone.rules_guidance:
        return
    for name in ("cfg_normalization", "cfg_truncation"):
        if getattr(settings, name) != SamplingSettings.model_fields[name].default:
            raise UserError(f"{name}: diffusers' pipeline of {model.backbone.title} has none; leave it out")


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
    check_real_guidance(model, settings.true_cfg_scale)
    _check_guidance_rule(settings, model)
    if is_kept_reference(settings):
        check_references(settings, model)
        return make_scheduler(model, settings.scheduler, settings.num_inference_steps, size_px), NOTHING
    check_named(settings, model, settings.references)
    own_branches = model.backbone.branches(model.denoiser, settings.guidance_scale)
    if settings.unguided_steps and len(own_branches) == 1 and settings.true_cfg_scale <= 1:
        raise UserError("skip_uncond: this model has no unconditional branch at this guidance_scale; leave it out")
    if settings.real_source:
        check_invertible(make_scheduler(model, settings.scheduler, settings.num_inference_steps, size_px))
    if settings.masked and settings.target_masks is None:
        find_words(model.tokenizer, settings.prompt, settings.mask_words)
        find_attributes(settings, model, settings.prompt)
    if words := source_words(settings):
        find_words(model.tokenizer, source_caption(settings), words)
        source_attributes(settings, model, source_caption(settings))
    scheduler, plan = planned_control(settings, model, size_px)
    if settings.save_masks and not (plan.steps and plan.layers):
        raise UserError("save_masks: there are no masks, because no step or no layer is controlled; see masa_step")
    return scheduler, plan


def planned_control(
    settings: Settings, model: DiffusionModel, size_px: tuple[int, int] | None = None
) -> tuple[Schedule, ControlPlan]:
    """The same, where all has been checked."""
    if settings.background == "still" and settings.still_margin != "all" and not model.backbone.denoises_windows:
        raise UserError(f"still_margin: {model.backbone.title} denoises no part of a picture alone; leave it out")
    if settings.reuse_deep_features and not model.backbone.reuses_deep_features:
        raise UserError(f"reuse_deep_features: {model.backbone.title} has no blocks that could run alone; leave it out")
    check_region_prompts(model, settings.cast_prompts.values())
    scheduler = make_scheduler(model, settings.scheduler, settings.num_inference_steps, size_px)
    plan = plan_control(
        model.denoiser,
        settings.num_inference_steps,
        masa_step=settings.masa_step,
        masa_layer=settings.masa_layer,
        masa_steps=settings.masa_steps,
        masa_layers=settings.masa_layers,
        mode="regions" if settings.cast else settings.attention_mode,
        positions=settings.source_positions,
        mask_grid_divisor=settings.mask_grid_divisor if settings.mask_words or settings.source_mask_words else None,
    )
    return scheduler, replace(plan, whole_every=settings.reuse_deep_features or 1)


def recorded_plan(settings: Settings, model: DiffusionModel, plan: ControlPlan) -> ControlPlan:
    """What is recorded of a source: the controlled layers, or all, where tokens of frames are not computed."""
    if settings.background != "still" or not plan.layers or not model.backbone.computes_some_tokens:
        return plan
    return replace(plan, layers=tuple(model.backbone.layers(model.denoiser)))


def _check_guidance_acts(model: DiffusionModel, num_steps: int) -> None:
    for network in model.networks:
        if not any(network.acts_at(step, num_steps) for step in range(num_steps)):
            raise UserError(
                f"guidance {network.name!r}: none of the {counted(num_steps, 'step')} lies whole between "
                f"{network.start:g} and {network.end:g}, where it acts; widen that"
            )


def source_caption(settings: Settings) -> str:
    """The text that names the source's object: its own prompt, or where an inverted source has none, a caption."""
    if settings.character is not None:
        return saved_caption(open_saved(settings))
    if settings.real_source:
        return settings.source_caption or settings.source_prompt or settings.prompt
    return settings.prompt if settings.source_prompt is None else settings.source_prompt


def source_words(settings: Settings) -> Sequence[str]:
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
