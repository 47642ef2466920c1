"""From settings, a model and a recorded source to what rendering a frame needs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import torch

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.parts import SourcePart
from masactrl_video.attention.plan import ControlPlan
from masactrl_video.attention.recorded import MemorySource
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt
from masactrl_video.model.sampling.colours import HeldColours
from masactrl_video.model.sampling.denoise import Denoising
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import timesteps_of
from masactrl_video.poses.warp import Skeletons
from masactrl_video.render.frames import Beside, FramesJob
from masactrl_video.render.grounds import ClipGround, StillGround
from masactrl_video.settings.cast import cast_members, cast_prompt
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.control import guidance_rule, mask_rule
from masactrl_video.sources.plan import held_colours, shared_noise, source_part
from masactrl_video.sources.reference import NOTHING
from masactrl_video.sources.timeline import Timeline
from masactrl_video.storage.fingerprint import hash_bytes, hash_module, hash_tensor
from masactrl_video.video.frame import Pictures

logger = logging.getLogger(__name__)


def frames_job(
    settings: Settings,
    model: DiffusionModel,
    size_px: tuple[int, int],
    guidance: Sequence[Pictures],
    scheduler: Schedule,
    plan: ControlPlan,
    source: CachedSource,
    beside: Beside | None = None,
    later: Sequence[CachedSource] = (),
    timeline: Timeline | None = None,
    skeletons: Skeletons | None = None,
    references: CachedSource | None = None,
) -> FramesJob:
    """Everything that rendering a frame against the recorded source needs besides its number.

    Args:
        beside: pictures for each frame that the settings want; with a cast, the sources are its people's, in order.
        later: further sources of the timeline; frames start from the noise of the first one all the same.
        timeline: which of several sources a frame follows.
        skeletons: of sources and frames, where keys go with the limbs.
        references: what stands beside every frame, whichever source that follows.

    Raises:
        UserError: words of the masked mode that are not in the prompt, or a mask that cannot be used.
    """
    beside = beside or Beside()
    guided = (settings.guidance_scale, size_px, settings.true_cfg_scale)
    condition = encode_prompt(model, settings.prompt, settings.negative_prompt, *guided)
    if source.has_references:
        return _beside_references(settings, model, size_px, guidance, scheduler, condition, source, beside)
    if references is not None:
        model = with_references(model, [references])
    parts = [source_part(each, model, size_px) for each in (source, *later)]
    if settings.cast:
        parts = _people(settings, model, parts, size_px)
    return FramesJob(
        denoising=_denoising(settings, model, condition),
        scheduler=scheduler,
        source=source,
        source_noise=(
            initial_noise(model, size_px, settings.seed)
            if len(settings.cast) > 1  # which of them should it be
            else shared_noise(settings, model, source, size_px)
        ),
        plan=plan,
        guidance=guidance,
        masks=MaskRule(threshold=settings.mask_threshold) if settings.cast else mask_rule(settings, model, size_px),
        beside=beside,
        noise=settings.noise,
        parts=parts if later or settings.cast or parts[0].latent_size is not None else (),
        timeline=timeline if later and not settings.cast else None,
        colours=_held_colours(settings, (source, *later)),
        skeletons=skeletons,
        background=settings.background,
        clip_ground=None if beside.clip is None else ClipGround(beside.clip, _null_prompt(model, size_px)),
        still_ground=_still_ground(settings, model, (source, *later), size_px),
        neighbour=settings.neighbour,
    )


def _beside_references(
    settings: Settings,
    model: DiffusionModel,
    size_px: tuple[int, int],
    guidance: Sequence[Pictures],
    scheduler: Schedule,
    condition: TextCondition,
    source: CachedSource,
    beside: Beside,
) -> FramesJob:
    """Frames that no step of a source is recorded for: references stand beside all of them."""
    model = with_references(model, [source])
    return FramesJob(
        denoising=_denoising(settings, model, condition),
        scheduler=scheduler,
        source=MemorySource(condition.names, (), timesteps_of(scheduler)),
        source_noise=shared_noise(settings, model, source, size_px),
        plan=NOTHING,
        guidance=guidance,
        beside=beside,
        noise=settings.noise,
    )


def _denoising(settings: Settings, model: DiffusionModel, condition: TextCondition) -> Denoising:
    whole_every, rule = settings.reuse_deep_features or 1, guidance_rule(settings)
    return Denoising(model, condition, settings.branch_scale, settings.seed, settings.unguided_steps, whole_every, rule)


def with_references(model: DiffusionModel, sources: Sequence[CachedSource]) -> DiffusionModel:
    """The model with the references of sources beside every picture, counted in their order."""
    references = [one for source in sources for one in source.references()]
    return replace(model, references=model.backbone.join_references(model, references))


def _people(
    settings: Settings, model: DiffusionModel, parts: Sequence[SourcePart], size_px: tuple[int, int]
) -> list[SourcePart]:
    """The sources as those of people, each with the prompt of its own region, if it has one."""
    found = []
    for part, (person, _) in zip(parts, cast_members(settings), strict=True):
        prompt = cast_prompt(settings, person)
        text = None if prompt is None else encode_prompt(model, prompt, "", 1.0, size_px).hidden_states
        found.append(replace(part, person=True, text=text))
    return found


def _null_prompt(model: DiffusionModel, size_px: tuple[int, int]) -> TextCondition:
    """One branch."""
    return encode_prompt(model, "", "", 1.0, size_px)


def _still_ground(
    settings: Settings, model: DiffusionModel, sources: Sequence[CachedSource], size_px: tuple[int, int]
) -> StillGround | None:
    if settings.background != "still":
        return None
    known, latent_size = (
        [levels for source in sources if (levels := source.levels) is not None],
        model.latent_size(*size_px),
    )
    for levels in known:
        if (own := tuple(levels.shape[-2:])) != latent_size:
            raise UserError(
                f"background still: the source has {own[1]}x{own[0]} latent points, the frames {latent_size[1]}x"
                f"{latent_size[0]}; take a source of their size, or background source or own"
            )
    skips = model.backbone.computes_some_tokens
    if skips:
        logger.info("background still: the ground is not computed; frames go one by one, each with tokens of its own")
    margin = None if settings.still_margin == "all" else settings.still_margin
    return StillGround(torch.stack(known), margin, skips)


def _held_colours(settings: Settings, sources: Sequence[CachedSource]) -> HeldColours | None:
    found = [source.colours for source in sources] if settings.hold_colours else []
    known = [colours for colours in found if colours is not None]
    if not known:
        return None
    return held_colours(settings, known)


def made_from(
    model: DiffusionModel,
    condition: TextCondition,
    guidance: Sequence[str],
    source: CachedSource,
    later: Sequence[CachedSource] = (),
    timeline: Timeline | None = None,
    skeletons: Skeletons | None = None,
    references: CachedSource | None = None,
) -> str:
    """Names the content of what the settings only name by path.

    Args:
        guidance: a key of each guidance's, and each given mask's, content.
        later: further sources, and which of them a frame follows.
        skeletons: where keys go with the limbs; those of frames are the guidance's.
        references: what stands beside every frame.
    """
    keys = [source.entry.folder.name, *guidance, hash_module(model.decoder), hash_tensor(condition.hidden_states)]
    sources = (source, *later)
    if any(each.entry.index.determined_by["source"] != "generated" for each in sources):
        keys += [hash_module(network.module) for network in model.networks]  # the source's name leaves them out
    if later:
        keys += [each.entry.folder.name for each in later] + [repr(timeline)]
    if skeletons is not None:
        keys.append(repr(skeletons.sources))
    if references is not None:
        keys.append(references.entry.folder.name)
    return hash_bytes("\n".join(keys).encode())
