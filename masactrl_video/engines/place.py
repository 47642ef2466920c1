"""A folder of a node, for what a run sends there."""

from __future__ import annotations

import getpass
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from masactrl_video.controls.store import INDEX_NAME
from masactrl_video.engines.letter import Fetch, Letter
from masactrl_video.render.plan import ControlPictures, RenderPlan
from masactrl_video.storage.lock import is_abandoned, lock_file, lock_folder


class Place:
    """A folder of this node for what a run sends there; one of it for all workers, and one in it for each."""

    def __init__(self, run: str) -> None:
        above = Path(tempfile.gettempdir()) / f"masactrl-video-{getpass.getuser()}"
        above.mkdir(mode=0o700, exist_ok=True)
        for other in above.iterdir():
            if other.is_dir() and other.name != run and is_abandoned(other):
                shutil.rmtree(other, ignore_errors=True)
        self.folder = above / run
        self.folder.mkdir(exist_ok=True)
        self._lock = lock_folder(self.folder, shared=True)
        self._own = Path(tempfile.mkdtemp(dir=self.folder, prefix="worker-"))

    def remove(self) -> None:
        """Its own part, and all of it where no other worker is there any more."""
        shutil.rmtree(self._own, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
        if (alone := lock_folder(self.folder, shared=False)) is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            alone.close()

    def lay_down(self, plan: RenderPlan, letter: Letter, fetch: Fetch) -> RenderPlan:
        """The plan with this node's places, where what was sent lies."""
        changes: dict[str, Any] = {}
        if letter.sources is not None:
            changes["sources"] = tuple(
                entry.model_copy(update={"folder": self.source(entry.folder.name, files, fetch)})
                for entry, files in zip(plan.sources, letter.sources, strict=True)
            )
        if letter.indices is not None:
            both = zip(plan.given, letter.indices, strict=True)
            placed = [self._control(number, pictures, index) for number, (pictures, index) in enumerate(both)]
            changes["controls"] = tuple(placed[: len(plan.controls)])
            changes |= dict(zip(plan.beside(), placed[len(plan.controls) :], strict=True))
        if letter.files_back:
            changes["pictures"] = self._own / plan.pictures.name
            changes["masks"] = plan.masks and self._own / plan.masks.name
        return plan.model_copy(update=changes)

    def lay_pictures(self, pictures: Mapping[str, bytes]) -> list[Path]:
        """Where the control pictures of a chunk lie now."""
        for name, content in pictures.items():
            (self._own / name).write_bytes(content)
        return [self._own / name for name in pictures]

    def source(self, name: str, files: Mapping[str, Any], fetch: Fetch) -> Path:
        """The folder of a recorded source that was sent, for all workers here."""
        folder, whole = self.folder / "source" / name, self.folder / "source" / f"{name}.whole"
        folder.parent.mkdir(exist_ok=True)
        lock = lock_file(self.folder / "source.lock", "the source")  # the first worker here writes, the others wait
        assert lock is not None
        try:
            if not whole.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                for file, content in files.items():
                    (folder / file).write_bytes(fetch(content))
                whole.touch()
        finally:
            lock.close()
        return folder

    def _control(self, number: int, pictures: ControlPictures, index: bytes) -> ControlPictures:
        folder = self._own / str(number)
        folder.mkdir()
        (folder / INDEX_NAME).write_bytes(index)
        return pictures.model_copy(update={"folder": folder})
