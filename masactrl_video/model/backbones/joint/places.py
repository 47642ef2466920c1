"""Places of tokens in keys: turns of pairs of channels, as complex numbers."""

from __future__ import annotations

import torch

from masactrl_video.errors import UserError


def check_tokens(key: torch.Tensor, grid: tuple[int, int]) -> None:
    """See that keys (..., tokens, head_dim) are those of a grid (height, width).

    Raises:
        UserError: they are of a picture of another size.
    """
    if key.shape[-2] != grid[0] * grid[1]:
        raise UserError(
            f"the source has {key.shape[-2]} tokens, and the picture {grid[0]} x {grid[1]}: its keys cannot be "
            "placed; draw both at one size, or take positions free"
        )


def grid_places(grid: tuple[int, int], first: tuple[int, int]) -> torch.Tensor:
    """(tokens, 2): row and column of each token of a grid (height, width) whose first one stands there."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]) + first[0], torch.arange(grid[1]) + first[1], indexing="ij")
    return torch.stack([rows, columns], dim=-1).reshape(-1, 2)


def turned(states: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """(..., tokens, head_dim) with places put in: complex `turns` (..., tokens, head_dim / 2) of its pairs."""
    pairs = torch.view_as_complex(states.float().reshape(*states.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turns).flatten(-2).type_as(states)
