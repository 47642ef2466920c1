"""Networks that steer a denoiser by control images, and what is ready of them for a batch of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from masactrl_video.settings.names import AdapterKind


@dataclass(frozen=True)
class ControlNetwork:
    """One network with its weight and the part of the denoising in which it acts; each family has its own kinds."""

    name: str
    """Name of the guidance it reads, e.g. `pose`."""
    module: torch.nn.Module
    scale: float = 1.0
    start: float = 0.0
    """Fraction of the denoising steps at which it begins to act."""
    end: float = 1.0
    """Fraction of the denoising steps at which it stops acting."""

    @property
    def size_factor(self) -> int:
        """Width and height of control images must be multiples of this."""
        return 1

    def acts_at(self, step: int, num_steps: int) -> bool:
        """Whether it acts at a denoising step, by the rule of diffusers' ControlNet pipelines."""
        return not (step / num_steps < self.start or (step + 1) / num_steps > self.end)


class PreparedControls(Protocol):
    """Control images of a batch of frames, ready for every denoising step, as a family needs them."""

    def read(self) -> Sequence[tuple[ControlNetwork, tuple[torch.Tensor, ...]]]:
        """Each network with the tensors that determine what it adds: part of a source's identity."""


@dataclass(frozen=True)
class NetworkChoice:
    """Which network reads a guidance, and how strongly and when it acts."""

    guidance: str
    """Name of the guidance that it reads, e.g. `pose`."""
    kind: AdapterKind
    name: str
    """Hub id, local folder, or for a ControlNet one `.safetensors` file."""
    scale: float = 1.0
    start: float = 0.0
    """Fraction of the denoising steps at which it begins to act."""
    end: float = 1.0
    """Fraction of the denoising steps at which it stops acting."""
    revision: str | None = None
    variant: str | None = None
    config: str | None = None
    """For a single file: local folder or hub id of a ControlNet with the same architecture; else the hub is asked."""
