"""A source recorded on disk: made once, then read step by step by every frame."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from masactrl_video.attention.recorded import StepRecord
from masactrl_video.cache.index import REFERENCES
from masactrl_video.cache.quantize import unpack
from masactrl_video.cache.store import CacheEntry
from masactrl_video.model.backbones.references import KeptReference

logger = logging.getLogger(__name__)

OBJECT_MAP, COLOURS, LEVELS = "object_map", "colours", "levels"
"""Names of tensors."""


@dataclass(frozen=True)
class CachedSource:
    """A `RecordedSource` whose steps are read from a verified cache entry when they are needed."""

    entry: CacheEntry
    device: torch.device
    dtype: torch.dtype | None = None
    """The model's number format, for a source that is stored in another one."""

    @property
    def timesteps(self) -> Sequence[float]:
        """Timestep of every denoising step, recorded or not."""
        return self.entry.index.timesteps

    @property
    def steps(self) -> Sequence[int]:
        """Indices of the recorded steps."""
        return self.entry.index.steps

    @property
    def layers(self) -> Sequence[str]:
        """Names of the recorded self-attention modules."""
        return self.entry.index.layers

    @property
    def branches(self) -> Sequence[str]:
        """Order of the branches in keys and values."""
        return self.entry.index.branches

    def read(self, step: int) -> StepRecord:
        """Everything recorded at `step`."""
        tensors = self.entry.read_step(step, self.device)
        keys = {name: unpack(tensors, f"{name}.key", self.dtype) for name in self.layers}
        values = {name: unpack(tensors, f"{name}.value", self.dtype) for name in self.layers}
        early = {name: tensors[key] for name in self.layers if (key := f"{name}.{OBJECT_MAP}") in tensors}
        return StepRecord(keys, values, tensors.get(OBJECT_MAP), early)

    @property
    def has_references(self) -> bool:
        """Whether it has no steps, but references, which serve at every step."""
        return is_reference(self.entry)

    def references(self) -> list[KeptReference]:
        """Those, in their order."""
        about = self.entry.index.determined_by.get(REFERENCES)
        found = []
        for number, one in enumerate(about if isinstance(about, list) else []):
            assert isinstance(one, dict) and isinstance(one["place"], int)
            tensors = self.entry.read(reference_name(number), self.device)
            found.append(KeptReference.of_tensors(tensors, one["place"], str(one["transformer"])))
        return found

    @property
    def initial_noise(self) -> torch.Tensor:
        """(1, channels, height, width): z_T, from which the targets start too."""
        return self.entry.read("source", self.device)["initial_noise"]

    @property
    def latents(self) -> torch.Tensor:
        """(1, channels, height, width): the source picture."""
        return self.entry.read("source", self.device)["latents"]

    @property
    def colours(self) -> torch.Tensor | None:
        """(steps, regions, 2, channels): mean and deviation of its predicted clean latents (see `sampling.colours`)."""
        return self.entry.read("source", self.device).get(COLOURS)

    @property
    def levels(self) -> torch.Tensor | None:
        """(steps + 1, channels, height, width): its latents before each step, and at the end, if they are kept."""
        return self.entry.read("source", self.device).get(LEVELS)

    @property
    def storage_error(self) -> float | None:
        """Largest relative error of a step's keys and values, by their storage; None where that is exact."""
        errors = self.entry.read("source").get("storage_errors")
        return None if errors is None else float(errors.max())


def is_reference(entry: CacheEntry) -> bool:
    """Whether an entry has references instead of steps."""
    return REFERENCES in entry.index.determined_by


def reference_name(number: int) -> str:
    """File of a reference, counted from 0."""
    return f"reference-{number}"


def object_maps(record: StepRecord) -> dict[str, torch.Tensor]:
    """The object maps of a step by the names under which they are stored; empty where there are none."""
    whole = {} if record.object_map is None else {OBJECT_MAP: record.object_map}
    return whole | {f"{name}.{OBJECT_MAP}": object_map for name, object_map in record.early_maps.items()}
