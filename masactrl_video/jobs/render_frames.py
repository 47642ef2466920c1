"""Stage 5: every frame, rendered against the recorded source."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from masactrl_video.attention.masks import MaskRule
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.controls.clip import FittedClip
from masactrl_video.controls.extract import GuidanceBeside
from masactrl_video.controls.plan import make_target_masks
from masactrl_video.controls.store import GuidanceFrames
from masactrl_video.errors import UserError, counted
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.jobs.run.report import Tell
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt, find_words
from masactrl_video.model.sampling.denoise import Denoising
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.render.chunks import render_frames
from masactrl_video.render.fit_batch import largest_batch
from masactrl_video.render.frames import FramesJob
from masactrl_video.settings.model_parts import SamplingSettings
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.plan import PlannedSource, read_mask
from masactrl_video.storage.fingerprint import hash_bytes, hash_module, hash_tensor
from masactrl_video.video.frame import Pictures
from masactrl_video.video.png import read_png_text, whole_png

logger = logging.getLogger(__name__)

_BATCH_SIZE = "batch-size"
"""In a picture's text: the frames that went through the model together, before memory made them fewer."""


def render_stage(
    settings: Settings,
    model: DiffusionModel,
    clip: FittedClip,
    guidance: Sequence[GuidanceFrames | GuidanceBeside],
    planned: PlannedSource,
    source: CachedSource,
    outputs: Outputs,
    tell: Tell = lambda event: None,
) -> dict[str, Any]:
    """Render the frames that are not there yet (see `drop_damaged`); returns the figures of `render_frames`."""
    target_masks = None
    if settings.target_masks is not None:
        target_masks = make_target_masks(settings, clip, settings.target_masks, outputs.folder / "target-masks")
    job = frames_job(settings, model, clip.size_px, guidance, planned, source, target_masks)
    if settings.unguided_steps:
        steps = (settings.unguided_steps, settings.num_inference_steps)
        logger.info("skip_uncond: no unconditional branch in the last %d of %s", steps[0], counted(steps[1], "step"))
    if settings.reuse_deep_features is not None:
        steps = (-(-settings.num_inference_steps // settings.reuse_deep_features), settings.num_inference_steps)
        logger.info("reuse_deep_features: the whole UNet runs at %d of %s", steps[0], counted(steps[1], "step"))
    keys = [kind.key for kind in (*guidance, *([target_masks] if target_masks else []))]
    text = picture_text(settings) | {"made-from": made_from(model, job.denoising.text, keys, source)}
    mask_paths = outputs.masks(len(clip)) if settings.save_masks else []
    check_kept(outputs.frames(len(clip)), text["made-from"])
    for path in mask_paths[:1]:
        path.parent.mkdir(exist_ok=True)
    batch_size = settings.batch_size
    if batch_size is None:
        batch_size = _batch_size(outputs.frames(len(clip)), job, settings.chunk_frames)
        text[_BATCH_SIZE] = str(batch_size)
    return render_frames(
        job,
        outputs.frames(len(clip)),
        batch_size=batch_size,
        chunk_frames=settings.chunk_frames,
        text=text,
        mask_paths=mask_paths,
        cache_memory_bytes=settings.cache_memory,
        tell=lambda progress: tell({"stage": "render", **asdict(progress)}),
    )


def _batch_size(frames: Sequence[Path], job: FramesJob, most: int) -> int:
    """What the frames of an interrupted run were cut by, so that the others come out the same; else what fits."""
    for path in frames:
        if path.exists():
            return int(read_png_text(path)[_BATCH_SIZE])
    return largest_batch(job, min(most, len(frames)))


def shared_noise(
    settings: SamplingSettings, model: DiffusionModel, source: CachedSource, size_px: tuple[int, int]
) -> torch.Tensor:
    """Initial noise (1, channels, height, width) of pictures of (height, width) px.

    It is the source's own (MasaCtrl, Sec. 5), or where a saved character has another size, noise of the seed.
    """
    noise = source.initial_noise
    own = tuple(noise.shape[-2:]) == model.latent_size(*size_px)
    return noise if own else initial_noise(model, size_px, settings.seed)


def frames_job(
    settings: Settings,
    model: DiffusionModel,
    size_px: tuple[int, int],
    guidance: Sequence[Pictures],
    planned: PlannedSource,
    source: CachedSource,
    target_masks: Pictures | None = None,
) -> FramesJob:
    """Everything that rendering a frame against the recorded source needs besides its number.

    Raises:
        UserError: words of the masked mode that are not in the prompt, or a mask that cannot be used.
    """
    condition = encode_prompt(model, settings.prompt, settings.negative_prompt, settings.guided, size_px)
    return FramesJob(
        denoising=Denoising(
            model,
            condition,
            settings.guidance_scale,
            settings.seed,
            settings.unguided_steps,
            settings.reuse_deep_features or 1,
        ),
        scheduler=planned.scheduler,
        source=source,
        source_noise=shared_noise(settings, model, source, size_px),
        plan=planned.plan,
        guidance=guidance,
        masks=_mask_rule(settings, model, size_px),
        target_masks=target_masks,
        noise=settings.noise,
    )


def made_from(model: DiffusionModel, condition: TextCondition, guidance: Sequence[str], source: CachedSource) -> str:
    """Names the content of what the settings only name by path.

    Args:
        guidance: a key of each guidance's, and each given mask's, content.
    """
    keys = [source.entry.folder.name, *guidance, hash_module(model.decoder), hash_tensor(condition.hidden_states)]
    if source.entry.index.determined_by["source"] == "real":  # made without the networks, which its name leaves out
        keys += [hash_module(network.module) for network in model.networks]
    return hash_bytes("\n".join(keys).encode())


def drop_damaged(pictures: Sequence[Path]) -> None:
    """Remove pictures of an interrupted run that are not as they were written: they are rendered again."""
    for path in pictures:
        try:
            if path.exists():
                whole_png(path)
        except UserError as error:
            logger.warning("%s: it is rendered again", error)
            path.unlink()


def check_kept(frames: Sequence[Path], made_from: str) -> None:
    """See that the frames of an interrupted run were made from the same clip, source and model."""
    for path in frames:
        if path.exists() and read_png_text(path).get("made-from") != made_from:
            raise UserError(
                f"{path}: it was made from another clip, source or model than are there now under the same names; "
                "--restart begins anew, another --output leaves it as it is"
            )


def picture_text(settings: Settings) -> dict[str, str]:
    """Parameters in a picture's text chunks: for people, in the form they know, and complete as JSON."""
    parameters = (
        f"{settings.prompt}\nNegative prompt: {settings.negative_prompt}\nSteps: {settings.num_inference_steps}, "
        f"Sampler: {settings.scheduler}, CFG scale: {settings.guidance_scale:g}, Seed: {settings.seed}, "
        f"Model: {settings.model}"
    )
    return {"parameters": parameters, "masactrl-video": json.dumps(settings.as_yaml_data(), ensure_ascii=False)}


def _mask_rule(settings: Settings, model: DiffusionModel, size_px: tuple[int, int]) -> MaskRule | None:
    if not settings.masked:
        return None
    source_mask = None
    if settings.source_mask is not None:
        source_mask = read_mask(settings, settings.source_mask, size_px).to(model.device)
    by_words = settings.target_masks is None
    tokens = find_words(model.pipe.tokenizer, settings.prompt, settings.mask_words) if by_words else ()
    return MaskRule(tokens, settings.mask_threshold, source_mask)
