"""Sources and the parts that they have in a picture: how much of it, and where."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from masactrl_video.attention.modes.base import AttentionMode
from masactrl_video.attention.plan import ControlPlan
from masactrl_video.attention.recorded import RecordedSource
from masactrl_video.errors import UserError
from masactrl_video.poses.warp import Skeleton

Weight = float | torch.Tensor
"""Of a source, 0 or more: as if its keys stood so many times in the softmax; (frames,) where each frame has its own."""


@dataclass(frozen=True, eq=False)
class SourcePart:
    """A source, and what part it has in the target."""

    source: RecordedSource
    latent_size: tuple[int, int] | None = None
    """Height and width of the source's latents, if they differ from the target's."""
    target_tokens: tuple[int, ...] = ()
    """Mode `regions`: positions of its object's words in the target's prompt; their map gives its region."""
    region: torch.Tensor | None = None
    """Mode `regions`: (height, width) bool on the target's latent grid: where its object may be; without words, is."""
    text: torch.Tensor | None = None
    """(1, text tokens, channels): what the region reads instead of the target's prompt; the words stand in it."""
    person: bool = False
    """Mode `regions`: its region differs from frame to frame, and is said for each batch (`Figures.whose`)."""
    weight: Weight = 1.0
    mask: torch.Tensor | None = None
    """(height, width) bool on the latent grid: where its object is, instead of its recorded object maps."""

    def __post_init__(self) -> None:
        if self.text is not None and self.region is None and not self.person:
            raise UserError("several sources: a prompt of one's own needs a region, in which it is read")


def check_parts(parts: Sequence[SourcePart], plan: ControlPlan, mode: AttentionMode, clocked: bool = False) -> None:
    """See that the sources go together, and have what plan and mode ask of them.

    Args:
        clocked: steps go by their number; a flow's timesteps may then depend on the size of each source.

    Raises:
        UserError: they do not.
    """
    for part in parts:
        source, has_place = part.source, bool(part.target_tokens) or part.region is not None or part.person
        missing = [layer.name for layer in plan.layers if layer.name not in source.layers]
        unrecorded = [step for step in plan.steps if step not in source.steps]
        first = parts[0].source.timesteps
        if len(source.timesteps) != len(first) or (not clocked and list(source.timesteps) != list(first)):
            raise UserError("several sources: they were recorded at different timesteps; use one scheduler for all")
        if missing and plan.steps:
            raise UserError(f"the source was recorded without layer {missing[0]}; record it from a lower masa_layer on")
        if unrecorded and plan.layers:
            raise UserError(f"the source was recorded without step {unrecorded[0]} of {len(source.timesteps)}")
        if "regions" in mode.needs and not has_place:
            raise UserError("several sources: give the words of each object, or its region")
        if has_place and "regions" not in mode.needs:
            raise UserError(f"{mode.name} mode: its sources have no regions; leave them out, or take mode regions")


@dataclass(frozen=True)
class FrameGroup:
    """Frames whose sources have the same weights: they attend together."""

    frames: tuple[int, ...] | None
    """Numbers in the call; None: all of it."""
    weights: dict[int, float]
    """Number of a source → its weight; those of weight 0 are not there."""
    skeleton: Skeleton | None = None
    """Whose pose moves the sources' keys; None: they stay."""
    has_neighbour: bool = False
    """Whether each of them also attends to the frame before it."""

    def rows(self, branches: int, frames: int) -> list[int] | None:
        """Their rows in a call; None: all."""
        if self.frames is None:
            return None
        return [branch * frames + frame for branch in range(branches) for frame in self.frames]


def groups_of(
    weights: Iterable[Weight],
    frames: int,
    skeletons: Sequence[Skeleton | None] | None = None,
    neighbours: Sequence[bool] | None = None,
) -> list[FrameGroup]:
    """The frames of a call by the weights of their sources, by what moves these, and by who has a neighbour.

    Args:
        skeletons: of each frame, where it moves the sources' keys.
        neighbours: of each frame, whether it attends to the one before.

    Raises:
        UserError: weights of another number of frames, or below 0.
    """
    columns = [weight.tolist() if isinstance(weight, torch.Tensor) else [float(weight)] * frames for weight in weights]
    for column in columns:
        if len(column) != frames:
            raise UserError(f"weights of a source: got {len(column)} for {frames} frames; each frame needs one")
        if wrong := [weight for weight in column if not 0 <= weight < math.inf]:
            raise UserError(f"weight of a source: got {wrong[0]:g}; give a number of 0 or more")
    alike: dict[tuple[tuple[float, ...], Skeleton | None, bool], list[int]] = {}
    for frame, row in enumerate(zip(*columns, strict=True)):
        skeleton, neighbour = skeletons[frame] if skeletons else None, bool(neighbours and neighbours[frame])
        alike.setdefault((row, skeleton, neighbour), []).append(frame)
    return [
        FrameGroup(
            tuple(members) if len(alike) > 1 else None,
            {n: weight for n, weight in enumerate(row) if weight},
            skeleton,
            neighbour,
        )
        for (row, skeleton, neighbour), members in alike.items()
    ]
