"""What a recorded source offers to the attention layers, wherever it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch

from masactrl_video.errors import UserError

SHARED = "shared"
"""Name of the only branch of a source whose unconditional and conditional branch are the same."""


@dataclass(frozen=True)
class StepRecord:
    """Keys, values and object map of one denoising step of the source."""

    keys: Mapping[str, torch.Tensor]
    """Layer name → (branches, source tokens, channels)."""
    values: Mapping[str, torch.Tensor]
    """Layer name → (branches, source tokens, channels)."""
    object_map: torch.Tensor | None = None
    """(height, width), min-max normalised attention to the object's words; None where none were named."""
    early_maps: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """Layer name → object map of the cross-attention before it, of layers that run before the last of that."""

    def object_map_at(self, layer: str) -> torch.Tensor | None:
        """The object map as far as the source's own pass had made it when the layer ran (MasaCtrl's official code).

        A layer before all cross-attention that makes the map has none of its own and gets the whole one.
        """
        return self.early_maps.get(layer, self.object_map)


class RecordedSource(Protocol):
    """A source whose keys and values can be read step by step: in memory, or in the cache on disk."""

    @property
    def timesteps(self) -> Sequence[float]:
        """Timestep of every denoising step, recorded or not."""

    @property
    def steps(self) -> Sequence[int]:
        """Indices of the recorded steps."""

    @property
    def layers(self) -> Sequence[str]:
        """Names of the recorded self-attention modules."""

    @property
    def branches(self) -> Sequence[str]:
        """Order of the branches in keys and values: `unconditional` and `conditional`, or only `shared`."""

    def read(self, step: int) -> StepRecord:
        """Everything recorded at `step`."""


@runtime_checkable
class MadeAgain(Protocol):
    """A `RecordedSource` whose steps are not kept, but made before they are read."""

    def prepare(self, step: int) -> None:
        """Make a step by a call of the denoiser; outside of any other one."""


@dataclass
class MemorySource:
    """A source held in memory (a `RecordedSource`)."""

    branches: Sequence[str]
    layers: Sequence[str]
    timesteps: list[float] = field(default_factory=list)
    records: dict[int, StepRecord] = field(default_factory=dict)

    @property
    def steps(self) -> Sequence[int]:
        """Indices of the recorded steps."""
        return sorted(self.records)

    def read(self, step: int) -> StepRecord:
        """Everything recorded at `step`."""
        return self.records[step]

    def add(self, timestep: float, record: StepRecord) -> None:
        """Append the next denoising step."""
        if timestep in self.timesteps:
            raise UserError(
                f"timestep {timestep:g} came twice while the source was recorded; record one run of one image, "
                "with a scheduler that visits each timestep once (not PNDM or Heun), and say branches=GUIDED where the "
                "negative prompt has a call of its own (true_cfg_scale)"
            )
        self.records[len(self.timesteps)] = record
        self.timesteps.append(timestep)


def branch_rows(recorded: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Which recorded branches serve a call with the branches `wanted`; one row where the source's are shared."""
    if tuple(recorded) == (SHARED,):
        return [0]
    missing = [branch for branch in wanted if branch not in recorded]
    if missing:
        raise UserError(
            f"the source was recorded without its {missing[0]} branch (it has: {', '.join(recorded)}); "
            "record it with classifier-free guidance, or render without"
        )
    return [list(recorded).index(branch) for branch in wanted]
