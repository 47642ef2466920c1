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
from masactrl_video.cache.compact import pack, packed_bytes_of, storage_error, unpack
from masactrl_video.cache.determine import source_identity
from masactrl_video.cache.fingerprint import fingerprint
from masactrl_video.cache.making import making, open_or_discard
from masactrl_video.cache.quota import Quota, make_room
from masactrl_video.cache.store import CacheEntry, CacheWriter, open_entry
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.schedulers import timesteps_of
from masactrl_video.model.text import TextCondition
from masactrl_video.settings.names import CacheDtype
from masactrl_video.source.invert import Trajectory
from masactrl_video.source.source import GeneratedSource, RealSource, replay

logger = logging.getLogger(__name__)

_OBJECT_MAP = "object_map"


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
        early = {name: tensors[key] for name in self.layers if (key := f"{name}.{_OBJECT_MAP}") in tensors}
        return StepRecord(keys, values, tensors.get(_OBJECT_MAP), early)

    @property
    def initial_noise(self) -> torch.Tensor:
        """(1, channels, height, width): z_T, from which the targets start too."""
        return self.entry.read("source", self.device)["initial_noise"]

    @property
    def latents(self) -> torch.Tensor:
        """(1, channels, height, width): the source picture."""
        return self.entry.read("source", self.device)["latents"]

    @property
    def storage_error(self) -> float | None:
        """Largest relative error of a step's keys and values, by their storage; None where that is exact."""
        errors = self.entry.read("source").get("storage_errors")
        return None if errors is None else float(errors.max())


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
    quota: Quota | None = None,
    dtype: CacheDtype = "exact",
) -> CachedSource:
    """The recorded source from the cache at `root`; recorded now if it is not there, or damaged.

    Of two processes that need the same source one records it, and the other waits for it.

    Args:
        branches: names of the rows of `source.text`.
        plan: its steps and layers are recorded; its `mask_layers` give the object map when `words` are given.
        quota: how large the cache may become with the new entry; the longest unused others go first.
        dtype: how keys and values are stored.

    Raises:
        CacheDamaged: an entry that is damaged and cannot be removed, or is damaged again right after it was recorded.
        StorageError: no space, no permission to write, or the quota is too small.
    """
    words = words or ObjectWords(())
    identity = source_identity(source, model, plan, words.caption, words.tokens)
    if dtype != "exact":
        identity["stored_as"] = dtype
    name = fingerprint(identity)
    with making(root, name):
        entry = open_or_discard(root, name)
        if entry is None:
            needed_bytes = expected_bytes(model, source, len(branches), plan, dtype)
            if quota is not None:
                make_room(root, quota, needed_bytes)
            with CacheWriter(
                root,
                identity,
                branches=branches,
                timesteps=timesteps_of(source.scheduler),
                layers=[layer.name for layer in plan.layers],
                expected_bytes=needed_bytes,
            ) as writer:
                _record(writer, model, source, branches, plan, words, dtype)
            entry = open_entry(root, name)
            assert entry is not None
        else:
            logger.info("source: cache entry %s is reused", name)
    entry.touch()
    return CachedSource(entry, model.device, None if dtype == "exact" else model.dtype)


def expected_bytes(
    model: DiffusionModel,
    source: GeneratedSource | RealSource,
    branches: int,
    plan: ControlPlan,
    dtype: CacheDtype = "exact",
) -> int:
    """Size of a cache entry before anything is computed: keys and values of all steps and layers."""
    latents = source.noise if isinstance(source, GeneratedSource) else source.picture_latents
    size = (latents.shape[-2], latents.shape[-1])
    step_bytes = 0
    for layer in plan.layers:
        height, width = layer.grid(size)
        channels = 2 * branches * layer.key_channels
        step_bytes += packed_bytes_of(height * width * channels, channels, dtype, model.dtype.itemsize)
    return len(plan.steps) * step_bytes + 2 * latents.nbytes


def _record(
    writer: CacheWriter,
    model: DiffusionModel,
    source: GeneratedSource | RealSource,
    branches: Sequence[str],
    plan: ControlPlan,
    words: ObjectWords,
    dtype: CacheDtype,
) -> None:
    walk = source.begin()
    timesteps = timesteps_of(source.scheduler)
    maps: dict[float, dict[str, torch.Tensor]] = {}
    errors: list[float] = []
    if words.caption is not None:
        assert walk.trajectory is not None
        maps = caption_maps(model, walk.trajectory, source.scheduler, words.caption, words.tokens, plan)

    def keep(timestep: float, record: StepRecord) -> None:
        step = timesteps.index(timestep)
        if step in plan.steps:
            states = _keys_and_values(record)
            packed = pack(states, dtype)
            if dtype != "exact":
                errors.append(storage_error(states, packed))
            writer.write_step(step, packed | (maps[timestep] if maps else _object_maps(record)))

    own_words = words.tokens if words.caption is None else ()
    with record_attention(
        model.unet, plan.layers, keep, branches=branches, object_tokens=own_words, map_layers=plan.mask_layers
    ):
        for _ in tqdm(walk.steps, total=len(timesteps), desc="source: record", unit="step", leave=False):
            pass
    assert walk.final_latents is not None
    about = {"storage_errors": torch.tensor(errors)} if errors else {}
    writer.write("source", {"initial_noise": walk.initial_noise, "latents": walk.final_latents} | about)


def caption_maps(
    model: DiffusionModel,
    trajectory: Trajectory,
    scheduler: Any,
    caption: TextCondition,
    tokens: Sequence[int],
    plan: ControlPlan,
) -> dict[float, dict[str, torch.Tensor]]:
    """Timestep → object maps of a real source, as stored, by a side pass under a caption that names the object."""
    maps: dict[float, dict[str, torch.Tensor]] = {}

    def keep(timestep: float, record: StepRecord) -> None:
        maps[timestep] = _object_maps(record)

    with record_attention(
        model.unet,
        (),
        keep,
        branches=UNGUIDED,
        object_tokens=tokens,
        map_layers=plan.mask_layers,
        masked_layers=plan.layers,
    ):
        steps = replay(model, trajectory, caption, scheduler)
        for _ in tqdm(steps, total=len(scheduler.timesteps), desc="source: mask", unit="step", leave=False):
            pass
    return maps


def _keys_and_values(record: StepRecord) -> dict[str, torch.Tensor]:
    keys = {f"{name}.key": key for name, key in record.keys.items()}
    return keys | {f"{name}.value": value for name, value in record.values.items()}


def _object_maps(record: StepRecord) -> dict[str, torch.Tensor]:
    """The object maps of a step by the names under which they are stored; empty where there are none."""
    whole = {} if record.object_map is None else {_OBJECT_MAP: record.object_map}
    return whole | {f"{name}.{_OBJECT_MAP}": object_map for name, object_map in record.early_maps.items()}
