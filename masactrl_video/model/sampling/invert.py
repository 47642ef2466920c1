"""Deterministic inversion, by DDIM or along a flow: from a picture's latents to the noise that leads back to it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.schedule import Schedule
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.sampling.denoise import predict_noise
from masactrl_video.model.sampling.flow import FlowSchedule
from masactrl_video.model.sampling.invert_flow import flow_levels
from masactrl_video.progress import counting


@dataclass(frozen=True)
class Trajectory:
    """Latents of a picture at every noise level of a scheduler."""

    latents: tuple[torch.Tensor, ...]
    """`latents[i]` (1, channels, height, width) enters denoising step i; the last one is the picture's own."""


def check_invertible(scheduler: Schedule) -> None:
    """See that a picture can be brought back to noise along a schedule.

    Raises:
        UserError: it is another's than DDIM's or a flow's.
    """
    if not isinstance(scheduler, DDIMScheduler | FlowSchedule):
        raise UserError(
            f"scheduler: a real source is inverted with DDIM, got {type(scheduler).__name__}; "
            "take scheduler ddim, or let the source be generated"
        )


@torch.no_grad()
def invert(
    model: DiffusionModel,
    picture_latents: torch.Tensor,
    text: TextCondition,
    scheduler: Schedule,
    iterations: int = 0,
    of: str = "source",
) -> Trajectory:
    """Inversion without guidance: on a flow see `flow_levels`, else DDIM's (MasaCtrl, Sec. 4.1; Song et al. 2021,
    Eq. 13 read backwards).

    The UNet is evaluated at the latents of the lower noise level with the timestep of the higher one, the usual
    approximation, so the trajectory must be replayed rather than denoised again to come back to the picture. Each
    iteration asks the UNet again, at the latents found so far: a fixed point z = step(eps(z, t)), where denoising would
    come back exactly (Pan et al. 2023, Sec. 3.2; Meiri et al. 2023).

    Args:
        picture_latents: (1, channels, height, width), scaled; of several pictures, each is inverted by itself.
        text: one branch, usually the null prompt.
        scheduler: the flow or DDIM scheduler of the denoising, with its timesteps set.
        iterations: refinements of each step, each at the cost of another UNet call; a few are enough.
        of: what the picture is, for the log.

    Raises:
        UserError: another scheduler, or one whose timesteps the inverse does not visit.
    """
    check_invertible(scheduler)
    if isinstance(scheduler, FlowSchedule):
        return Trajectory(tuple(reversed(flow_levels(model, picture_latents, text, scheduler, iterations))))
    assert isinstance(scheduler, DDIMScheduler)
    inverse = _inverse_of(scheduler, model.device)
    refining = _inverse_of(scheduler, model.device, prediction_type="epsilon")
    levels = [picture_latents]
    for step in counting(range(len(inverse.timesteps)), f"{of}: invert", "step", passing=True):
        timestep = inverse.timesteps[step]
        output = predict_noise(model, levels[-1], timestep, text, None, step, len(inverse.timesteps))[0]
        higher = inverse.step(output, timestep, levels[-1], return_dict=False)[0]
        for _ in range(iterations):
            output = predict_noise(model, higher, timestep, text, None, step, len(inverse.timesteps))[0]
            noise = _as_noise(scheduler, output, higher, timestep)
            higher = refining.step(noise, timestep, levels[-1], return_dict=False)[0]
        levels.append(higher)
    return Trajectory(tuple(reversed(levels)))


def _as_noise(
    scheduler: DDIMScheduler, output: torch.Tensor, latents: torch.Tensor, timestep: torch.Tensor
) -> torch.Tensor:
    """The noise in `latents` at `timestep` by the UNet's output there, whatever kind of output that is.

    The inverse scheduler would read another kind as an output at the lower noise level.
    """
    kind: str = scheduler.config.prediction_type
    alpha = float(scheduler.alphas_cumprod[int(timestep)])
    noise = output
    if kind == "v_prediction":
        noise = alpha**0.5 * output + (1 - alpha) ** 0.5 * latents
    if kind == "sample":
        noise = (latents - alpha**0.5 * output) / (1 - alpha) ** 0.5
    return noise


def _inverse_of(scheduler: DDIMScheduler, device: torch.device, **changes: str) -> DDIMInverseScheduler:
    """The scheduler that visits the same timesteps upwards."""
    known = inspect.signature(DDIMInverseScheduler).parameters  # a model's own scheduler may have more to say
    config = {name: value for name, value in scheduler.config.items() if name in known}
    inverse = DDIMInverseScheduler.from_config(config, **changes)
    try:
        inverse.set_timesteps(len(scheduler.timesteps), device=device)
        visits_the_same = inverse.timesteps.tolist() == scheduler.timesteps.flip(0).tolist()
    except ValueError:  # a spacing that diffusers' inverse does not know
        visits_the_same = False
    if not visits_the_same:
        raise UserError(
            f"scheduler: timestep_spacing {scheduler.config.timestep_spacing!r} with {len(scheduler.timesteps)} steps "
            "cannot be inverted; take `leading` spacing, or another number of steps"
        )
    return inverse
