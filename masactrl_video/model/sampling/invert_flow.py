"""Inversion along a flow: from a picture's latents to the noise that leads back to it, by the midpoint rule."""

from __future__ import annotations

import torch

from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.sampling.denoise import predict_noise
from masactrl_video.model.sampling.flow import FlowSchedule
from masactrl_video.progress import counting


@torch.no_grad()
def flow_levels(
    model: DiffusionModel,
    picture_latents: torch.Tensor,
    text: TextCondition,
    schedule: FlowSchedule,
    iterations: int = 0,
) -> list[torch.Tensor]:
    """Latents of a picture at every noise level of a flow, from the picture's own upwards.

    Each step is a step of the differential equation dz = v(z, sigma) dsigma by the midpoint rule, which is of order 2
    and asks the network twice (Wang et al. 2024, RF-Solver, has a rule of the same order; Deng et al. 2024, FireFlow).
    An iteration asks it once more, at the latents found so far: a fixed point z = lower + width · v(z, sigma), from
    which Euler's step of the denoising comes back to the lower level exactly.

    Args:
        picture_latents: (1, channels, height, width), scaled.
        text: one branch, without guidance.
        iterations: refinements of each step.

    Returns:
        One more than steps; the last one enters denoising step 0.
    """
    num_steps = len(schedule.timesteps)
    full = float(schedule.timesteps[0]) / float(schedule.sigmas[0])  # timestep of pure noise

    def velocity(latents: torch.Tensor, sigma: float, step: int) -> torch.Tensor:
        timestep = torch.as_tensor(sigma * full, dtype=schedule.timesteps.dtype, device=schedule.timesteps.device)
        model_input = latents.to(picture_latents.dtype)
        return predict_noise(model, model_input, timestep, text, None, step, num_steps)[0].float()

    sigmas = [float(sigma) for sigma in schedule.sigmas]
    lower = picture_latents.float()
    levels = [picture_latents]
    for step in counting(range(num_steps - 1, -1, -1), "source: invert", "step", total=num_steps, passing=True):
        low, high = sigmas[step + 1], sigmas[step]
        middle = lower + (high - low) / 2 * velocity(lower, low, step)
        higher = lower + (high - low) * velocity(middle, (low + high) / 2, step)
        for _ in range(iterations):
            higher = lower + (high - low) * velocity(higher, high, step)
        lower = higher
        levels.append(higher.to(picture_latents.dtype))
    return levels
