"""The order of the rows in a denoiser's batch, stated once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

Branch = Literal["unconditional", "conditional"]

GUIDED: tuple[Branch, ...] = ("unconditional", "conditional")
"""Rows of a batch with classifier-free guidance, branch by branch, as diffusers orders them.

A batch of F frames has 2F rows: row b·F + f is frame f in branch b.
"""

UNGUIDED: tuple[Branch, ...] = ("conditional",)
"""Rows of a batch without classifier-free guidance."""


@dataclass(frozen=True)
class GuidanceRule:
    """What some pipelines know of real guidance beside its scale."""

    most_length: float = 0.0
    """The guided prediction of a picture is at most so many times as long as that of the prompt; 0: as it comes."""
    until: float = 1.0
    """Part of the way from noise to picture from which on the prompt's prediction is taken as it is."""

    def guides_at(self, timestep: torch.Tensor) -> bool:
        """Whether there is real guidance at a timestep, which is of a thousand."""
        return self.until >= 1 or float((1000 - timestep.float()) / 1000) <= self.until


PLAIN = GuidanceRule()


def classifier_free_guidance(branches: torch.Tensor, scale: float) -> torch.Tensor:
    """(branches, frames, ...) → (frames, ...): away from the unconditional prediction by `scale`."""
    if branches.shape[0] == 1:
        return branches[0]
    unconditional, conditional = branches[0], branches[1]
    return unconditional + scale * (conditional - unconditional)
