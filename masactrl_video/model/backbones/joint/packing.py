"""Latents packed into tokens, 2x2 in each."""

from __future__ import annotations

import torch

PATCH = 2
"""Side of a token in latents."""


def pack(latents: torch.Tensor) -> torch.Tensor:
    """(rows, channels, height, width) → (rows, tokens, channels x 4), as diffusers' pipelines do it."""
    rows, channels, height, width = latents.shape
    cells = latents.view(rows, channels, height // PATCH, PATCH, width // PATCH, PATCH).permute(0, 2, 4, 1, 3, 5)
    return cells.reshape(rows, (height // PATCH) * (width // PATCH), channels * PATCH**2)


def unpack(tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """`pack` undone, for latents of this height and width."""
    rows, _, channels = tokens.shape
    cells = tokens.view(rows, height // PATCH, width // PATCH, channels // PATCH**2, PATCH, PATCH)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(rows, channels // PATCH**2, height, width)
