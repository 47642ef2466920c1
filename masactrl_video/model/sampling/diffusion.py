"""Diffusion: schedulers with the noise levels that a model was trained with."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import diffusers
import torch

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.settings.names import SchedulerName

_CLASSES: dict[SchedulerName, str] = {
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "deis": "DEISMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler-a": "EulerAncestralDiscreteScheduler",
    "lcm": "LCMScheduler",
}


def diffusion_schedule(
    config: Mapping[str, Any], device: torch.device, name: SchedulerName, num_inference_steps: int
) -> Schedule:
    """A scheduler with the noise levels of a model's own, whose configuration is given, its timesteps set.

    The predicted picture is never clipped: latents are not bound to a range. DDIM is set up as in the paper: its last
    step ends at the lowest noise level of the training (`set_alpha_to_one=False`).

    Raises:
        UserError: more steps than the model has noise levels, or a scheduler that repeats timesteps.
    """
    own = {"clip_sample": False} if name in ("ddim", "ddpm", "lcm") else {}
    own |= {"set_alpha_to_one": False} if name == "ddim" else {}
    if name not in _CLASSES:
        raise UserError(
            f"scheduler {name}: it is for models of flow matching (FLUX.1 and others); take {', '.join(_CLASSES)}"
        )
    kind = getattr(diffusers, _CLASSES[name])
    _check_knows(name, kind, config)
    scheduler = kind.from_config(config, **own)
    levels = scheduler.config.num_train_timesteps
    if not 1 <= num_inference_steps <= levels:
        raise UserError(
            f"num_inference_steps: got {num_inference_steps}; this model has {levels} noise levels, give 1 to {levels}"
        )
    try:
        scheduler.set_timesteps(num_inference_steps, device=device)
    except ValueError as error:  # limits of a scheduler's own, e.g. LCM's 50 steps
        raise UserError(f"num_inference_steps: got {num_inference_steps}; scheduler {name}: {error}") from error
    if len(set(scheduler.timesteps.tolist())) != len(scheduler.timesteps):
        raise UserError(
            f"scheduler {name}: with {num_inference_steps} steps it visits a timestep twice, so that a step cannot be "
            "known by its timestep; take ddim, or another number of steps"
        )
    _check_first_level(name, scheduler)
    schedule: Schedule = scheduler
    return schedule


def _check_knows(name: SchedulerName, kind: type[Any], config: Mapping[str, Any]) -> None:
    """See that a scheduler takes what is said of the model: diffusers would leave out what it does not know."""
    if config.get("rescale_betas_zero_snr") and "rescale_betas_zero_snr" not in inspect.signature(kind).parameters:
        raise UserError(
            f"scheduler {name}: this model was trained up to pure noise (rescale_betas_zero_snr), unknown to "
            f"{name}; take ddim, ddpm, dpm++, unipc, euler, euler-a or lcm"
        )
    if config.get("prediction_type") == "sample" and name == "euler-a":
        raise UserError("scheduler euler-a: this model predicts the picture (sample), which it cannot use; take ddim")


def _check_first_level(name: SchedulerName, scheduler: Any) -> None:
    """See that the first step has something to go by: in pure noise, the noise says nothing of the picture."""
    first = int(scheduler.timesteps[0])
    if scheduler.config.prediction_type == "epsilon" and float(scheduler.alphas_cumprod[first]) < 1e-7:
        raise UserError(
            f"scheduler {name}: this model starts from pure noise (rescale_betas_zero_snr), but is said to predict the "
            "noise (epsilon): one of them is wrong; give prediction_type v_prediction if it is such a model"
        )
