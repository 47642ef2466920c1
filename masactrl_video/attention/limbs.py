"""Where the source's tokens go with the limbs of a pose."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from masactrl_video.errors import UserError, counted
from masactrl_video.poses.warp import Skeleton, moved_places, moves


class Limbs:
    """The skeletons of sources and of the frames in work; what is found of them is kept."""

    def __init__(self) -> None:
        self.sources: Sequence[Skeleton] = ()
        """Of each source."""
        self.frames: Sequence[Skeleton] = ()
        """Of each frame in work."""
        self._moved: dict[tuple[int, Skeleton, tuple[int, int]], torch.Tensor] = {}

    def moving(self, sources: int, frames: int) -> list[Skeleton | None]:
        """The skeleton of each frame in work that moves the keys of a source; None where none is to.

        Raises:
            UserError: there is not one for each of so many sources and frames.
        """
        if (len(self.sources), len(self.frames)) != (sources, frames):
            raise UserError(
                f"source_positions pose: got {len(self.sources)} skeletons for {counted(sources, 'source')} and "
                f"{len(self.frames)} for {counted(frames, 'frame')}; each needs one"
            )
        return [frame if any(moves(source, frame) for source in self.sources) else None for frame in self.frames]

    def places(self, number: int, skeleton: Skeleton, grid: tuple[int, int], device: torch.device) -> torch.Tensor:
        """(tokens, 2): where the tokens of a source are in frames of this pose; found once, then the same object."""
        found = (number, skeleton, grid)
        if found not in self._moved:
            self._moved[found] = torch.from_numpy(moved_places(self.sources[number], skeleton, grid)).float().to(device)
        return self._moved[found]
