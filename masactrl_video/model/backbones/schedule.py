"""What is asked of a scheduler of diffusers with its timesteps set, whether it is for diffusion or for a flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch


class Schedule(Protocol):
    """One denoising from noise to picture, step by step.

    diffusers' schedulers for diffusion are that as they are. One for flow matching lacks the scales at the start and of
    the input: a family of that kind gives it both, 1 and the latents themselves.
    """

    timesteps: torch.Tensor
    """(steps,), in the order of the denoising."""

    @property
    def config(self) -> Mapping[str, object]:
        """What it was made from."""

    @property
    def init_noise_sigma(self) -> float:
        """By this the noise is multiplied at the start."""

    def scale_model_input(self, sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """Latents as the denoiser reads them."""

    def step(
        self, model_output: torch.Tensor, timestep: torch.Tensor, sample: torch.Tensor, *, return_dict: bool
    ) -> tuple[torch.Tensor, ...]:
        """Latents at the next, lower noise level; one that draws noise takes a `generator` too."""
