"""Targets without a recorded source: denoised beside it, or from its noised picture."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import cast

import torch
from diffusers import DDIMScheduler

from masactrl_video.attention.baselines.lockstep import Lockstep
from masactrl_video.errors import UserError, counted
from masactrl_video.model.backbones.controls import PreparedControls
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.sampling.denoise import Denoising, FrameBatch
from masactrl_video.progress import counting
from masactrl_video.sources.source import Source


def denoise_beside(
    source: Source,
    denoising: Denoising,
    guidance: PreparedControls | None,
    injected: AbstractContextManager[Lockstep],
    name: str,
) -> torch.Tensor:
    """Denoise a target step by step beside its source, from the source's noise.

    Args:
        denoising: prompt and scale of the target.
        guidance: of the target.
        injected: what the target takes from the source: `prompt_to_prompt` or `plug_and_play`.
        name: for the progress.

    Returns:
        Latents of the target, (1, channels, height, width).
    """
    walk = source.begin()
    batch = FrameBatch.from_noise(walk.initial_noise, guidance, source.scheduler)
    with injected as lockstep:
        for step in counting(walk.steps, name, "step", total=len(source.scheduler.timesteps)):
            with lockstep.target():
                denoising.step(batch, step)
    return batch.latents


def check_strength(steps: int, strength: float) -> int:
    """How many of the denoising steps are done at a strength, as diffusers' img2img pipelines count them.

    Raises:
        UserError: none.
    """
    done = min(int(steps * strength), steps)
    if done == 0:
        raise UserError(
            f"sdedit_strength: {strength:g} of {counted(steps, 'step')} is less than one; give at least {1 / steps:g}"
        )
    return done


def denoise_noised(
    denoising: Denoising,
    guidance: PreparedControls | None,
    scheduler: Schedule,
    picture_latents: torch.Tensor,
    noise: torch.Tensor,
    strength: float,
) -> torch.Tensor:
    """SDEdit (Meng et al. 2021, arXiv 2108.01073): noise a picture in part, then denoise it under another prompt.

    The first step and the noise follow diffusers' img2img pipelines.

    Args:
        picture_latents: (1, channels, height, width), scaled.
        noise: standard normal, of the same shape.
        strength: in (0, 1], the part of the steps that is done; 1 forgets the picture but for its faintest trace.

    Raises:
        UserError: so little strength that no step is left.
    """
    steps = len(scheduler.timesteps)
    first = steps - check_strength(steps, strength)
    batch = FrameBatch.from_noise(noise, guidance, scheduler)
    if hasattr(batch.scheduler, "set_begin_index"):
        batch.scheduler.set_begin_index(first)
    noised = cast(DDIMScheduler, batch.scheduler).add_noise
    batch.latents = noised(picture_latents, noise, batch.scheduler.timesteps[first : first + 1])
    for step in counting(range(first, steps), "SDEdit", "step"):
        denoising.step(batch, step)
    return batch.latents
