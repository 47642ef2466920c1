"""What the denoiser is given, and the velocity that leads from there to the right picture."""

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from masactrl_video.demo.training.pairs import Sight

CLEANER = 0.5
"""Part of the pairs whose first picture has less noise than the second, so that there is more to be found in it."""
MISTAKEN = 0.5
"""Part of the pairs whose second picture begins as somebody else, whom the same caption fits."""
LEAST_NOISE = 0.5
"""Deviation of the noise from which on a picture may begin so; with less it is too late to become another one."""
LEAST_RATIO = LEAST_NOISE / (1 - LEAST_NOISE**2) ** 0.5
"""Of noise to picture, which is the same amount of noise on a straight line."""
_LEAST_TIME = 1e-3


def draw_timesteps(steps: int, rows: int, sight: Sight | None) -> Tensor:
    """One for each picture; those of a pair are the same, or the first one's is earlier. (rows,)

    Args:
        steps: of the scheduler's training.
    """
    if sight is None:
        return torch.randint(steps, (rows,))
    second = torch.randint(steps, (rows // 2,))
    part = torch.where(torch.rand(len(second)) < CLEANER, torch.rand(len(second)), 1.0)
    return torch.cat([(second * part).long(), second])


def noised(
    scheduler: DDIMScheduler, latents: Tensor, others: Tensor, timesteps: Tensor, sight: Sight | None
) -> tuple[Tensor, Tensor]:
    """Noisy latents, and the velocity from them to `latents`; each picture of a pair has noise of its own.

    Where the second pictures of pairs see only the first ones, some of them begin as somebody else, as a target does
    whose noise tells of another one than the source. Only the first ones can set them right.

    Args:
        latents: the first pictures of all pairs, then the second ones; or single ones. (rows, channels, rows, columns)
        others: of somebody else in the same poses, whom the same captions fit.
        timesteps: (rows,)
    """
    noise = torch.randn_like(latents)
    deviation = (1 - scheduler.alphas_cumprod.to(latents.device)[timesteps]).sqrt().view(-1, 1, 1, 1)
    begun = latents
    if sight == "first":
        begun = torch.where(_mistaken(latents) & (deviation >= LEAST_NOISE), others, latents)
    noisy = scheduler.add_noise(begun, noise, timesteps)
    return noisy, scheduler.get_velocity(begun, noise, timesteps) + (begun - latents) / deviation


def _mistaken(latents: Tensor) -> Tensor:
    """Some of the second pictures of pairs. (rows, 1, 1, 1)"""
    second = torch.arange(len(latents), device=latents.device) >= len(latents) // 2
    chosen = second & (torch.rand(len(latents), device=latents.device) < MISTAKEN)
    return chosen.view(-1, 1, 1, 1)


def flow_times(rows: int, sight: Sight | None) -> Tensor:
    """Part of noise of each picture, in (0, 1); those of a pair are the same, or the first one's is less. (rows,)

    Half of them are spread evenly, half lie about the middle, where the errors are.
    """
    count = rows if sight is None else rows // 2
    times = torch.where(torch.rand(count) < 0.5, torch.rand(count), torch.randn(count).sigmoid())
    times = times.clamp(_LEAST_TIME, 1)
    if sight is None:
        return times
    part = torch.where(torch.rand(count) < CLEANER, torch.rand(count), 1.0)
    return torch.cat([(times * part).clamp_min(_LEAST_TIME), times])


def flow_noised(latents: Tensor, others: Tensor, times: Tensor, sight: Sight | None) -> tuple[Tensor, Tensor]:
    """As `noised`, on the straight line from the picture to the noise.

    Args:
        times: part of noise. (rows,)
    """
    noise = torch.randn_like(latents)
    part = times.view(-1, 1, 1, 1)
    begun = latents
    if sight == "first":
        begun = torch.where(_mistaken(latents) & (part / (1 - part + _LEAST_TIME) >= LEAST_RATIO), others, latents)
    noisy = torch.lerp(begun, noise, part)
    return noisy, noise - begun + (begun - latents) / part
