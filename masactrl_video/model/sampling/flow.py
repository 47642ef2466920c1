"""Flow matching: Euler's steps along a model's own noise levels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.settings.names import SchedulerName


class FlowSchedule(Schedule):
    """diffusers' scheduler of a flow, with the scales that a `Schedule` has: they change nothing."""

    init_noise_sigma = 1.0

    def __init__(self, scheduler: FlowMatchEulerDiscreteScheduler) -> None:
        self._scheduler = scheduler
        self.timesteps = scheduler.timesteps
        self.sigmas = scheduler.sigmas
        """(steps + 1,): the share of noise before each step, and after the last."""

    @property
    def config(self) -> Mapping[str, object]:
        """What it was made from."""
        config: Mapping[str, object] = self._scheduler.config
        return config

    def scale_model_input(self, sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """As they are."""
        return sample

    def step(
        self, model_output: torch.Tensor, timestep: torch.Tensor, sample: torch.Tensor, *, return_dict: bool
    ) -> tuple[torch.Tensor, ...]:
        """Latents at the next, lower noise level."""
        stepped: tuple[torch.Tensor, ...] = self._scheduler.step(
            model_output, timestep, sample, return_dict=return_dict
        )
        return stepped


def flow_schedule(
    config: Mapping[str, Any],
    device: torch.device,
    name: SchedulerName,
    num_inference_steps: int,
    tokens: int,
    *,
    even: bool = True,
    shift: float | None = None,
) -> FlowSchedule:
    """The steps of a model's own scheduler, whose configuration is given, as diffusers' pipelines set them.

    Args:
        name: `flow`; the default of all models, `ddim`, means it too.
        tokens: of the picture; the larger it is, the longer the noise stays high, where the model says so.
        even: the noise levels are evenly spaced before any shift, as most pipelines set them; else the scheduler's own.
        shift: how far they are shifted then, where a family has a rule of its own.

    Raises:
        UserError: a scheduler or a number of steps that it cannot have.
    """
    if name not in ("flow", "ddim"):
        raise UserError(
            f"scheduler {name}: this model is a flow, which goes by Euler's steps; leave it out, or give flow"
        )
    if config.get("stochastic_sampling"):
        raise UserError(
            "scheduler: this model's own draws noise at every step (stochastic_sampling); that is not supported"
        )
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(config)
    levels = scheduler.config.num_train_timesteps
    if not 1 <= num_inference_steps <= levels:
        raise UserError(
            f"num_inference_steps: got {num_inference_steps}; this model has {levels} noise levels, give 1 to {levels}"
        )
    own = not even or config.get("use_flow_sigmas")
    sigmas = None if own else np.linspace(1.0, 1 / num_inference_steps, num_inference_steps)
    scheduler.set_timesteps(
        num_inference_steps, device=device, sigmas=sigmas, mu=_shift(config, tokens) if shift is None else shift
    )
    scheduler.set_begin_index(0)
    return FlowSchedule(scheduler)


def _shift(config: Mapping[str, Any], tokens: int) -> float:
    """How far the noise levels of a picture of so many tokens are shifted: on a line through two sizes."""
    small, large = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    low, high = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    slope = (high - low) / (large - small)
    return float(tokens * slope + (low - slope * small))
