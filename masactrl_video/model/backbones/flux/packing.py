"""Where the tokens of packed latents stand."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def places(grid: tuple[int, int], first: tuple[int, int] = (0, 0), axes: int = 3) -> torch.Tensor:
    """(tokens, axes) for a grid of (height, width): nothing, the row and the column of each token, and nothing.

    Args:
        first: row and column of the first token.
        axes: of a place, 3 in FLUX.1 and 4 in FLUX.2.
    """
    height, width = grid
    rows, columns = torch.meshgrid(torch.arange(height) + first[0], torch.arange(width) + first[1], indexing="ij")
    return ids_of(torch.stack([rows, columns], dim=-1).reshape(height * width, 2).float(), axes)


def ids_of(rows_columns: torch.Tensor, axes: int = 3) -> torch.Tensor:
    """(tokens, axes): nothing, the row and the column of each token (tokens, 2), and nothing."""
    return F.pad(rows_columns, (1, axes - 3))


def grid_of(img_ids: torch.Tensor) -> tuple[int, int] | None:
    """Height and width of the grid whose `places` these are; None: they are others'."""
    ids = img_ids[0] if img_ids.ndim == 3 else img_ids
    height, width = (int(ids[:, axis].max()) + 1 for axis in (1, 2))
    is_grid = ids.shape[0] == height * width and torch.equal(
        ids.float().cpu(), places((height, width), axes=ids.shape[1])
    )
    return (height, width) if is_grid else None
