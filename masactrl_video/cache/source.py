"""A source recorded on disk: made once, then read step by step by every frame."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from masactrl_video.attention.branches import UNGUIDED
from masactrl_video.attention.plan import ControlPlan
from masactrl_video.attention.record import record_attention
from masactrl_video.attention.recorded import StepRecord
from masactrl_video.cache.determine import source_identity
from masactrl_video.cache.fingerprint import fingerprint
from masactrl_video.cache.making import making, open_or_discard
from masactrl_video.cache.quota import make_room
from masactrl_video.cache.store import CacheEntry, CacheWriter, open_entry
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.schedulers import timesteps_of
from masactrl_video.model.text import TextCondition
from masactrl_video.source.invert import Trajectory
from masactrl_video.source.source import GeneratedSource, RealSource, replay

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedSource:
    """A `RecordedSource` whose steps are read from a verified cache entry when they are needed."""

    entry: CacheEntry
    device: torch.device

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
        keys = {name: tensors[f"{name}.key"] for name in self.layers}
        values = {name: tensors[f"{name}.value"] for name in self.layers}
        return StepRecord(keys, values, tensors.get("object_map"))

    @property
    def initial_noise(self) -> torch.Tensor:
        """(1, channels, height, width): z_T, from which the targets start too."""
        return self.entry.read("source", self.device)["initial_noise"]

    @property
    def latents(self) -> torch.Tensor:
        """(1, channels, height, width): the source picture."""
        return self.entry.read("source", self.device)["latents"]


@dataclass(frozen=True)
class ObjectWords:
    """Where the words of the source's object stand."""

    tokens: tuple[int, ...]
    """Positions among the tokens of the prompt."""
    caption: TextCondition | None = None
    """A caption that names the object, one branch, for a source whose own prompt does not (a real one with the null
    prompt): its cross-attention is taken from a side pass over the source's latents, and only the maps are used."""


def cached_source(
    root: Path,
    model: DiffusionModel,
    source: GeneratedSource | RealSource,
    branches: Sequence[str],
    plan: ControlPlan,
    words: ObjectWords | None = None,
    quota_bytes: int | None = None,
) -> CachedSource:
    """The recorded source from the cache at `root`; recorded now if it is not there, or damaged.

    Of two processes that need the same source one records it, and the other waits for it.

    Args:
        branches: names of the rows of `source.text`.
        plan: its steps and layers are recorded; its `mask_layers` give the object map when `words` are given.
        quota_bytes: the cache may have so many with the new entry; the longest unused others go first.

    Raises:
        CacheDamaged: an entry that is damaged and cannot be removed, or is damaged again right after it was recorded.
        StorageError: no space, no permission to write, or the quota is too small.
    """
    words = words or ObjectWords(())
    identity = source_identity(source, model, plan, words.caption, words.tokens)
    name = fingerprint(identity)
    with making(root, name):
        entry = open_or_discard(root, name)
        if entry is None:
            needed_bytes = expected_bytes(model, source, len(branches), plan)
            if quota_bytes is not None:
                make_room(root, quota_bytes, needed_bytes)
            with CacheWriter(
                root,
                identity,
                branches=branches,
                timesteps=timesteps_of(source.scheduler),
                layers=[layer.name for layer in plan.layers],
                expected_bytes=needed_bytes,
            ) as writer:
                _record(writer, model, source, branches, plan, words)
            entry = open_entry(root, name)
            assert entry is not None
        else:
            logger.info("source: cache entry %s is reused", name)
    entry.touch()
    return CachedSource(entry, model.device)


def expected_bytes(
    model: DiffusionModel, source: GeneratedSource | RealSource, branches: int, plan: ControlPlan
) -> int:
    """Size of a cache entry before anything is computed: keys and values of all steps and layers."""
    latents = source.noise if isinstance(source, GeneratedSource) else source.picture_latents
    size = (latents.shape[-2], latents.shape[-1])
    values = 0
    for layer in plan.layers:
        height, width = layer.grid(size)
        values += 2 * branches * height * width * layer.key_channels
    return len(plan.steps) * values * model.dtype.itemsize + 2 * latents.nbytes


def _record(
    writer: CacheWriter,
    model: DiffusionModel,
    source: GeneratedSource | RealSource,
    branches: Sequence[str],
    plan: ControlPlan,
    words: ObjectWords,
) -> None:
    walk = source.begin()
    timesteps = timesteps_of(source.scheduler)
    maps: dict[float, torch.Tensor | None] = {}
    if words.caption is not None:
        assert walk.trajectory is not None
        maps = caption_maps(model, walk.trajectory, source.scheduler, words.caption, words.tokens, plan)

    def keep(timestep: float, record: StepRecord) -> None:
        step = timesteps.index(timestep)
        if step in plan.steps:
            writer.write_step(step, _tensors(record, maps.get(timestep, record.object_map)))

    own_words = words.tokens if words.caption is None else ()
    with record_attention(
        model.unet, plan.layers, keep, branches=branches, object_tokens=own_words, map_layers=plan.mask_layers
    ):
        for _ in tqdm(walk.steps, total=len(timesteps), desc="source: record", unit="step", leave=False):
            pass
    assert walk.final_latents is not None
    writer.write("source", {"initial_noise": walk.initial_noise, "latents": walk.final_latents})


def caption_maps(
    model: DiffusionModel,
    trajectory: Trajectory,
    scheduler: Any,
    caption: TextCondition,
    tokens: Sequence[int],
    plan: ControlPlan,
) -> dict[float, torch.Tensor | None]:
    """Timestep → object map of a real source, by a side pass under a caption that names the object."""
    maps: dict[float, torch.Tensor | None] = {}

    def keep(timestep: float, record: StepRecord) -> None:
        maps[timestep] = record.object_map

    with record_attention(model.unet, (), keep, branches=UNGUIDED, object_tokens=tokens, map_layers=plan.mask_layers):
        steps = replay(model, trajectory, caption, scheduler)
        for _ in tqdm(steps, total=len(scheduler.timesteps), desc="source: mask", unit="step", leave=False):
            pass
    return maps


def _tensors(record: StepRecord, object_map: torch.Tensor | None) -> dict[str, torch.Tensor]:
    tensors = {f"{name}.key": key for name, key in record.keys.items()}
    tensors |= {f"{name}.value": value for name, value in record.values.items()}
    return tensors if object_map is None else tensors | {"object_map": object_map}
