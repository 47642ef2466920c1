"""Sources on disk, by name: a folder each, with one entry of the cache in it, proved by checksums when it is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from masactrl_video.attention.recorded import StepRecord
from masactrl_video.cache.index import is_entry_id
from masactrl_video.cache.recorded_source import CachedSource, object_maps
from masactrl_video.cache.store import CacheEntry, CacheWriter, open_entry
from masactrl_video.comfyui.fitting import Fit
from masactrl_video.comfyui.recording import Source
from masactrl_video.errors import UserError
from masactrl_video.storage.fingerprint import hash_bytes

KIND = "comfyui source 1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def names(shelf: Path) -> list[str]:
    """What is kept, in order; nothing is opened."""
    if not shelf.is_dir():
        return []
    return sorted(path.name for path in shelf.iterdir() if _NAME.fullmatch(path.name) and _entry_id(path))


def state(shelf: Path, name: str) -> str:
    """Which source is kept under a name: its fingerprint, or nothing."""
    return _entry_id(_folder(shelf, name)) or ""


def save(shelf: Path, name: str, source: Source) -> Path:
    """Write a source under a name; one that is there already stays, if it is the same.

    Raises:
        UserError: the name leads elsewhere or is taken, or the disk is full.
    """
    folder = _folder(shelf, name)
    records = {step: _tensors(source.recorded.read(step)) for step in source.recorded.steps}
    latents = source.latents.float().contiguous()
    determined_by: dict[str, JsonValue] = {
        "kind": KIND,
        "layers": [[layer, channels] for layer, channels in source.fit.layers],
        "weights": source.fit.weights,
        "schedule": list(source.schedule),
        "latent_size": list(source.latent_size),
        "latents": hash_bytes(latents.numpy().tobytes()),
    }
    size = sum(tensor.nbytes for tensors in records.values() for tensor in tensors.values())
    recorded = source.recorded
    writer = CacheWriter(
        folder,
        determined_by,
        branches=recorded.branches,
        timesteps=recorded.timesteps,
        layers=recorded.layers,
        expected_bytes=size + latents.nbytes,
    )
    there = _entry_id(folder)
    if there == writer.fingerprint:
        return folder
    if there is not None:
        raise UserError(f"name: {name} is another source already; give another name, or remove {folder}")
    with writer:
        for step, tensors in records.items():
            writer.write_step(step, tensors)
        writer.write("source", {"latents": latents})
    return folder


def load(shelf: Path, name: str) -> Source:
    """A source by its name; its steps are read, and proved once more, when they are asked for.

    Raises:
        UserError: there is none, or it is damaged.
    """
    folder = _folder(shelf, name)
    there = _entry_id(folder)
    entry = None if there is None else open_entry(folder, there)
    if entry is None:
        raise UserError(f"name: no source is called {name}; there are: {', '.join(names(shelf)) or 'none'}")
    return _source(entry, name)


class _About(BaseModel):
    """What an entry of this kind says of itself."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["comfyui source 1"]
    layers: tuple[tuple[str, int], ...]
    weights: str
    schedule: tuple[float, ...]
    latent_size: tuple[int, int]


def _source(entry: CacheEntry, name: str) -> Source:
    try:
        about = _About.model_validate(entry.index.determined_by)
    except ValidationError as error:
        raise UserError(
            f"name: {name} was not saved by these nodes, or by another version; record and save it anew"
        ) from error
    recorded = CachedSource(entry, torch.device("cpu"))
    return Source(recorded, about.schedule, about.latent_size, Fit(about.layers, about.weights), recorded.latents)


def _tensors(record: StepRecord) -> dict[str, torch.Tensor]:
    keys = object_maps(record) | {f"{name}.key": tensor for name, tensor in record.keys.items()}
    return keys | {f"{name}.value": tensor for name, tensor in record.values.items()}


def _folder(shelf: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise UserError(f"name: got {name!r:.80}; letters, digits, - and _ are allowed, 64 at most")
    return shelf / name


def _entry_id(folder: Path) -> str | None:
    if not folder.is_dir():
        return None
    return next((path.name for path in sorted(folder.iterdir()) if is_entry_id(path.name)), None)
