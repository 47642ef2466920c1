"""Whether recorded keys can be put in places."""

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
