"""The order of the rows in a denoiser's batch, stated once."""

from __future__ import annotations

from typing import Literal

Branch = Literal["unconditional", "conditional"]

GUIDED: tuple[Branch, ...] = ("unconditional", "conditional")
"""Rows of a batch with classifier-free guidance, branch by branch, as diffusers orders them.

A batch of F frames has 2F rows: row b·F + f is frame f in branch b.
"""

UNGUIDED: tuple[Branch, ...] = ("conditional",)
"""Rows of a batch without classifier-free guidance."""
