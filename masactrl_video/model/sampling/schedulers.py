"""Schedules: timesteps, each of which is visited once, and the step from one to the next."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.settings.names import SchedulerName


def make_scheduler(
    model: DiffusionModel, name: SchedulerName, num_inference_steps: int, size_px: tuple[int, int] | None = None
) -> Schedule:
    """A scheduler for a model, its timesteps set.

    Args:
        size_px: height and width of the pictures; the model's own where only the number of steps matters.

    Raises:
        UserError: a scheduler or a number of steps that the model cannot have.
    """
    return model.backbone.schedule(model, name, num_inference_steps, size_px or model.native_size_px)


def timesteps_of(scheduler: Schedule) -> list[float]:
    """The scheduler's timesteps as numbers, in the order of the denoising steps."""
    return [float(t) for t in scheduler.timesteps.tolist()]


def scheduler_step(
    scheduler: Schedule, noise: torch.Tensor, timestep: torch.Tensor, latents: torch.Tensor, seed: int, step: int
) -> torch.Tensor:
    """One denoising step: (frames, channels, height, width) → the same at the next, lower noise level.

    A stochastic scheduler draws noise here. It is drawn on the CPU from `seed` and `step` alone and is the same for
    every frame and for the source, else frames would differ by their noise.
    """
    extra: dict[str, Any] = {}
    if "generator" in inspect.signature(scheduler.step).parameters:
        generators = [torch.Generator("cpu").manual_seed(seed * 100_003 + step + 1) for _ in range(latents.shape[0])]
        extra["generator"] = generators
    out: torch.Tensor = scheduler.step(noise, timestep, latents, return_dict=False, **extra)[0]
    return out
