"""Writing and reading entries of the cache: a whole entry or none."""

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import torch
from pydantic import JsonValue
from safetensors.torch import save

from masactrl_video.cache.durable import ELSEWHERE, write_through, writing_in
from masactrl_video.cache.entry_lock import tidy
from masactrl_video.cache.index import (
    CHECKSUM_NAME,
    FORMAT_VERSION,
    INDEX_NAME,
    CacheDamaged,
    CacheIndex,
    FileEntry,
    checksum_text,
    is_entry_id,
    step_name,
)
from masactrl_video.cache.tensors import read_tensors
from masactrl_video.cache.verify import check_entry, describe_file
from masactrl_video.errors import StorageError, UserError
from masactrl_video.storage.fingerprint import fingerprint
from masactrl_video.storage.lock import FolderLock, lock_folder
from masactrl_video.storage.staging import staged_folder

logger = logging.getLogger(__name__)


class CacheWriter:
    """Writes one entry; it appears under its fingerprint when the `with` block ends, or not at all.

    An exception in the block removes what was written. If another process finished the same entry meanwhile,
    that one is kept.
    """

    def __init__(
        self,
        root: Path,
        determined_by: Mapping[str, JsonValue],
        *,
        branches: Sequence[str],
        timesteps: Sequence[float],
        layers: Sequence[str],
        expected_bytes: int,
    ) -> None:
        """Describe an entry; nothing is written before the `with` block.

        Args:
            root: folder of the whole cache; made when it is missing.
            determined_by: everything that determines the content; the entry is named by its fingerprint.
            branches: guidance branches recorded, such as ("unconditional", "conditional").
            timesteps: the scheduler's timesteps in denoising order, also those not stored.
            layers: names of the layers recorded.
            expected_bytes: size of all tensors, held against the free space before anything is computed.
        """
        self.root = root
        self.fingerprint = fingerprint(determined_by)
        self.expected_bytes = expected_bytes
        self._determined_by = dict(determined_by)
        self._branches, self._layers = tuple(branches), tuple(layers)
        self._timesteps = tuple(float(timestep) for timestep in timesteps)
        self._staged = ExitStack()
        self._files: dict[str, FileEntry] = {}
        self._steps: list[int] = []

    def __enter__(self) -> "CacheWriter":
        with writing_in(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            tidy(self.root)
            self._check_space()
            self._folder = self._staged.enter_context(staged_folder(self.root / self.fingerprint, "keep"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._staged.__exit__(kind, error, trace)
            return
        with writing_in(self.root), self._staged:
            self._write_index()

    def write_step(self, step: int, tensors: Mapping[str, torch.Tensor]) -> None:
        """Write the tensors of one denoising step (counted from 0)."""
        self._write(step_name(step), tensors)
        self._steps.append(step)

    def write(self, name: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Write other tensors, such as the source's latents, as `<name>.safetensors`."""
        self._write(f"{name}.safetensors", tensors)

    def _write(self, name: str, tensors: Mapping[str, torch.Tensor]) -> None:
        if name in self._files:
            raise ValueError(f"{name} is written already")
        data = save({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()})
        with writing_in(self.root):
            write_through(self._folder / name, data)
            self._files[name] = describe_file(self._folder / name)

    def _check_space(self) -> None:
        free_bytes = shutil.disk_usage(self.root).free
        logger.info("cache entry %s: %.1f MB in %s", self.fingerprint, self.expected_bytes / 1e6, self.root)
        if self.expected_bytes > free_bytes:
            raise StorageError(
                f"the cache needs {self.expected_bytes / 1e6:.1f} MB in {self.root},"
                f" {free_bytes / 1e6:.1f} MB are free: make room there (`masactrl-video cache prune`),"
                f" or {ELSEWHERE}"
            )

    def _write_index(self) -> None:
        index = CacheIndex(
            format_version=FORMAT_VERSION,
            fingerprint=self.fingerprint,
            determined_by=self._determined_by,
            created=datetime.now(UTC),
            branches=self._branches,
            timesteps=self._timesteps,
            steps=tuple(sorted(self._steps)),
            layers=self._layers,
            files=self._files,
        )
        data = index.model_dump_json(indent=1).encode()
        write_through(self._folder / INDEX_NAME, data)
        write_through(self._folder / CHECKSUM_NAME, checksum_text(data).encode())


@dataclass(frozen=True)
class CacheEntry:
    """A verified entry; its tensors are read from disk when they are asked for, and verified again then.

    While it lives, other processes do not prune it.
    """

    folder: Path
    index: CacheIndex
    lock: FolderLock | None = field(default=None, repr=False, compare=False)

    def read_step(self, step: int, device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
        """Tensors of a stored denoising step (counted from 0)."""
        return self._read(step_name(step), device)

    def read(self, name: str, device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
        """Tensors of `<name>.safetensors`."""
        return self._read(f"{name}.safetensors", device)

    def _read(self, name: str, device: torch.device | str) -> dict[str, torch.Tensor]:
        """The bytes that are verified are the ones used: damage since the entry was opened is found too."""
        if name not in self.index.files:
            raise KeyError(f"{name} is not among {', '.join(sorted(self.index.files))}")
        pinned = torch.device(device).type == "cuda"
        tensors = read_tensors(self.folder / name, self.index.files[name], pinned=pinned)
        return {key: tensor.to(device, non_blocking=pinned) for key, tensor in tensors.items()}

    def touch(self) -> None:
        """Note that the entry was used now; `prune` removes the longest unused first."""
        try:
            os.utime(self.folder / INDEX_NAME)
        except OSError as error:  # a cache that somebody else owns can be read all the same
            logger.debug("last use of %s not noted: %s", self.folder, error)


def open_entry(root: Path, entry_id: str) -> CacheEntry | None:
    """Open an entry after checking every byte of it against its index; None where there is none.

    Raises:
        CacheDamaged: anything is missing, extra, or other than the index says.
    """
    folder = root / entry_id
    if not is_entry_id(entry_id):
        raise UserError(f"{entry_id!r} is not the id of a cache entry: 32 hexadecimal digits, see `cache list`")
    if not os.path.lexists(folder):
        return None
    lock = _in_use(folder)  # before it is checked: from here on nobody removes it
    return CacheEntry(folder, check_entry(folder), lock)


def _in_use(folder: Path) -> FolderLock | None:
    try:
        return lock_folder(folder, shared=True)
    except OSError as error:
        raise CacheDamaged(folder, f"it cannot be read: {error.strerror}") from error
