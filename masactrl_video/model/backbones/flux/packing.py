"""Where the tokens of packed latents stand."""

from __future__ import annotations

import torch


def places(grid: tuple[int, int], first: tuple[int, int] = (0, 0)) -> torch.Tensor:
    """(tokens, 3) for a grid of (height, width): nothing, the row and the column of each token.

    Args:
        first: row and column of the first token.
    """
    height, width = grid
    rows, columns = torch.meshgrid(torch.arange(height) + first[0], torch.arange(width) + first[1], indexing="ij")
    return ids_of(torch.stack([rows, columns], dim=-1).reshape(height * width, 2).float())


def ids_of(rows_columns: torch.Tensor) -> torch.Tensor:
    """(tokens, 3): nothing, and the row and the column of each token (tokens, 2)."""
    return torch.cat([torch.zeros_like(rows_columns[:, :1]), rows_columns], dim=1)


def grid_of(img_ids: torch.Tensor) -> tuple[int, int] | None:
    """Height and width of the grid whose `places` these are; None: they are others'."""
    ids = img_ids[0] if img_ids.ndim == 3 else img_ids
    height, width = (int(ids[:, axis].max()) + 1 for axis in (1, 2))
    is_grid = ids.shape[0] == height * width and torch.equal(ids.float().cpu(), places((height, width)))
    return (height, width) if is_grid else None
