"""The steps of Wan: UniPC along a flow, as its authors take them, or Euler's."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.backbones.wan.attention import TITLE
from masactrl_video.model.sampling.flow import flow_schedule
from masactrl_video.settings.names import SchedulerName


def wan_schedule(
    own: UniPCMultistepScheduler | FlowMatchEulerDiscreteScheduler,
    device: torch.device,
    name: SchedulerName,
    num_inference_steps: int,
) -> Schedule:
    """The steps with the shift of a model's `own` scheduler, which `own` takes where it is of that kind.

    Args:
        name: `unipc`, or `flow` for Euler's; the default of all models, `ddim`, means `flow` too.

    Raises:
        UserError: a scheduler or a number of steps that it cannot have.
    """
    if name not in ("unipc", "flow", "ddim"):
        raise UserError(f"scheduler {name}: {TITLE} is a flow; give unipc, or flow for Euler's steps")
    config = own.config
    if isinstance(own, UniPCMultistepScheduler):
        _check_flow(own)
        if name == "unipc":
            return _unipc(config, device, num_inference_steps)
        levels = {"num_train_timesteps": config.num_train_timesteps, "shift": config.flow_shift}
        return flow_schedule(levels, device, name, num_inference_steps, tokens=0)
    if name == "unipc":
        levels = {"num_train_timesteps": config.num_train_timesteps, "flow_shift": config.shift}
        flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
        return _unipc(levels | flow, device, num_inference_steps)
    return flow_schedule(config, device, name, num_inference_steps, tokens=0, even=False)  # as the pipeline sets it


def _check_flow(own: UniPCMultistepScheduler) -> None:
    config = own.config
    if not config.use_flow_sigmas or config.prediction_type != "flow_prediction" or config.use_dynamic_shifting:
        raise UserError(
            f"scheduler: this model's UniPC is not set up as {TITLE}'s (use_flow_sigmas true, prediction_type "
            "flow_prediction, use_dynamic_shifting false); mend its scheduler_config.json"
        )


def _unipc(config: Any, device: torch.device, num_inference_steps: int) -> Schedule:
    scheduler: Any = UniPCMultistepScheduler.from_config(config)
    levels = int(scheduler.config.num_train_timesteps)
    if not 1 <= num_inference_steps <= levels:
        raise UserError(
            f"num_inference_steps: got {num_inference_steps}; this model has {levels} noise levels, give 1 to {levels}"
        )
    scheduler.set_timesteps(num_inference_steps, device=device)
    if len(set(scheduler.timesteps.tolist())) != num_inference_steps:
        raise UserError(
            f"scheduler unipc: with {num_inference_steps} steps it visits a timestep twice, so that a step cannot be "
            "known by its timestep; take flow, or fewer steps"
        )
    schedule: Schedule = scheduler
    return schedule
