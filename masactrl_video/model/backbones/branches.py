"""The order of the rows in a denoiser's batch, stated once."""

from __future__ import annotations

from typing import Literal

import torch

Branch = Literal["unconditional", "conditional"]

GUIDED: tuple[Branch, ...] = ("unconditional", "conditional")
"""Rows of a batch with classifier-free guidance, branch by branch, as diffusers orders them.

A batch of F frames has 2F rows: row b·F + f is frame f in branch b.
"""

UNGUIDED: tuple[Branch, ...] = ("conditional",)
"""Rows of a batch without classifier-free guidance."""


def classifier_free_guidance(branches: torch.Tensor, scale: float) -> torch.Tensor:
    """(branches, frames, ...) → (frames, ...): away from the unconditional prediction by `scale`."""
    if branches.shape[0] == 1:
        return branches[0]
    unconditional, conditional = branches[0], branches[1]
    return unconditional + scale * (conditional - unconditional)
