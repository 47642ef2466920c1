"""The clean latents that a denoiser's output foretells, and an output that foretells others."""

from __future__ import annotations

from typing import Any, cast

import torch

from masactrl_video.model.backbones.schedule import Schedule


def clean_shares(schedule: Schedule, step: int) -> tuple[float, float]:
    """(a, b): the predicted clean latents x0 are a · latents + b · output, at a denoising step.

    That is so for noise, velocity and the picture itself, in diffusion as in a flow. A schedule with another rule has a
    method `clean_shares(step)` of its own.
    """
    known: Any = schedule
    if hasattr(known, "clean_shares"):
        return cast(tuple[float, float], known.clean_shares(step))
    if not hasattr(known, "alphas_cumprod"):  # a flow: the output is noise - clean, the latents lie on the line between
        return 1.0, -float(known.sigmas[step])
    signal, noise, scale = _levels(known, step)
    kind = known.config["prediction_type"]
    if kind == "sample":
        return 0.0, 1.0
    if kind == "v_prediction":
        return signal * scale, -noise
    return scale / signal, -noise / signal


def _levels(scheduler: Any, step: int) -> tuple[float, float, float]:
    """Parts of signal and noise, whose squares sum to 1, and what latents are multiplied by to be such a sum."""
    if not hasattr(scheduler, "sigmas"):
        kept = float(scheduler.alphas_cumprod[int(scheduler.timesteps[step])])
        return kept**0.5, (1 - kept) ** 0.5, 1.0
    sigma = float(scheduler.sigmas[step])
    signal = (sigma**2 + 1) ** -0.5
    is_sum = hasattr(scheduler, "_sigma_to_alpha_sigma_t")  # Euler's latents are signal + sigma · noise
    return signal, sigma * signal, 1.0 if is_sum else signal


def predicted_clean(schedule: Schedule, output: torch.Tensor, latents: torch.Tensor, step: int) -> torch.Tensor:
    """x0 (frames, channels, height, width) in float32, of output and latents of the same shape."""
    of_latents, of_output = clean_shares(schedule, step)
    return of_latents * latents.float() + of_output * output.float()


def with_clean(schedule: Schedule, output: torch.Tensor, change: torch.Tensor, step: int) -> torch.Tensor:
    """The output that foretells clean latents which differ by `change`; where that is 0, the same to the bit."""
    _, of_output = clean_shares(schedule, step)
    return (output.float() + change / of_output).to(output.dtype) if of_output else output
