"""The owner's side of what travels: what workers cannot see themselves, and what comes back from them."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import masactrl_video
from masactrl_video.cache.index import CHECKSUM_NAME, INDEX_NAME, read_index
from masactrl_video.controls import store
from masactrl_video.engines.letter import Letter, control_name
from masactrl_video.errors import StorageError, UserError
from masactrl_video.render.plan import Chunk, ChunkResult, RenderPlan, WrittenFile
from masactrl_video.storage.fingerprint import hash_bytes, hash_file
from masactrl_video.storage.replace import replacing

logger = logging.getLogger(__name__)

_VISIBLE_SECONDS = 60.0
"""A network file system may show a file that another node has written only so much later."""

Put = Callable[[NDArray[np.uint8]], Any]
"""Leaves a content where all workers can fetch it; what stands for it."""


class Parcels:
    """Packs what a plan needs for workers, and unpacks what they send."""

    def __init__(self, plan: RenderPlan, *, storage: Path | None, everything_is_seen: bool) -> None:
        """Send nothing yet.

        Args:
            storage: a folder that all workers see.
            everything_is_seen: whether all workers run on this machine.
        """
        self.plan, self._storage = plan, None if storage is None else storage.resolve()
        self._all = everything_is_seen
        self._pictures = [*plan.given]
        self._send_sources = not all(self._seen(entry.folder) for entry in plan.sources)
        self._send_pictures = not all(self._seen(pictures.folder) for pictures in self._pictures)
        self._files_back = not self._seen(plan.pictures)

    def _seen(self, path: Path) -> bool:
        return self._all or (self._storage is not None and path.resolve().is_relative_to(self._storage))

    @contextmanager
    def letter(self, put: Put) -> Iterator[dict[str, Any]]:
        """A letter for every worker, which is true inside the context.

        Raises:
            StorageError: the folder of --storage cannot be written.
        """
        run = secrets.token_hex(16)
        mark = None if self._storage is None or self._all else self._storage / f".masactrl-video-{run}"
        try:
            if mark is not None:
                mark.write_text(run, encoding="utf-8")
        except OSError as error:
            raise StorageError(f"storage: {self._storage} cannot be written: {error.strerror}") from error
        try:
            yield vars(
                Letter(
                    version=masactrl_video.__version__,
                    plan=self.plan.to_json(),
                    run=run,
                    threads=torch.get_num_threads(),
                    mark=None if mark is None else (str(mark), run),
                    sources=self._sources(put) if self._send_sources else None,
                    indices=self._indices() if self._send_pictures else None,
                    files_back=self._files_back,
                )
            )
        finally:
            if mark is not None:
                mark.unlink(missing_ok=True)

    def _sources(self, put: Put) -> list[dict[str, Any]]:
        return [sent_source(entry.folder, put) for entry in self.plan.sources]

    def _indices(self) -> list[bytes]:
        return [(pictures.folder / store.INDEX_NAME).read_bytes() for pictures in self._pictures]

    def pictures_for(self, chunk: Chunk) -> dict[str, bytes]:
        """Control pictures that go with a chunk."""
        if not self._send_pictures:
            return {}
        frames = [frame for batch in chunk.ranges() for frame in batch]
        return {
            control_name(number, frame): (pictures.folder / store.frame_name(frame)).read_bytes()
            for number, pictures in enumerate(self._pictures)
            for frame in frames
        }

    def arrived(self, result: ChunkResult, files: Mapping[str, bytes]) -> ChunkResult:
        """The result, with its files in their places here.

        Raises:
            UserError: a file did not come, or as another than was said.
        """
        if not self._files_back:
            for file in result.files:
                _wait_for(file.path)
            return result
        return result.model_copy(update={"files": tuple(self._placed(file, files) for file in result.files)})

    def _placed(self, file: WrittenFile, files: Mapping[str, bytes]) -> WrittenFile:
        folders = {folder.name: folder for folder in (self.plan.pictures, self.plan.masks) if folder is not None}
        folder, name = file.path.parent.name, file.path.name
        path, content = folders[folder] / name, files[f"{folder}/{name}"]
        if path.exists():  # it may be in the video already
            return WrittenFile(path=path, sha256=hash_file(path))
        if hash_bytes(content) != file.sha256:
            raise UserError(f"{path}: it arrived as another than was sent; the same command goes on")
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            partial.write_bytes(content)
        return WrittenFile(path=path, sha256=file.sha256)


def sent_source(folder: Path, put: Put) -> dict[str, Any]:
    """The files of a recorded source by name, each left where all workers can fetch it."""
    names = [INDEX_NAME, CHECKSUM_NAME, *read_index(folder).files]
    return {name: put(np.fromfile(folder / name, np.uint8)) for name in names}


def _wait_for(path: Path) -> None:
    until_seconds = time.monotonic() + _VISIBLE_SECONDS
    while not path.exists():
        if time.monotonic() > until_seconds:
            raise UserError(f"{path}: a worker has written it, and it cannot be seen here; is --storage one folder?")
        time.sleep(0.05)
