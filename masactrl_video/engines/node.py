"""A worker's side: it opens what a letter holds or names, on its own node, and renders chunk after chunk."""

from __future__ import annotations

import getpass
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from masactrl_video.cache.index import CacheDamaged
from masactrl_video.controls.store import INDEX_NAME
from masactrl_video.engines.letter import Answer, Fetch, Letter
from masactrl_video.errors import StorageError, UserError
from masactrl_video.progress import RenderProgress
from masactrl_video.render.plan import Chunk, ControlPictures, RenderPlan
from masactrl_video.render.steps import RenderSteps
from masactrl_video.render.worker import ChunkWorker
from masactrl_video.storage.lock import is_abandoned, lock_file, lock_folder

_BEGUN = "begun"


class NodeWorker:
    """Renders chunks where it runs. Nothing that it says goes to this process's output: it is all in its answers."""

    def __init__(self, letter: Mapping[str, Any], fetch: Fetch, *, quiet: bool = True) -> None:
        """Open nothing yet.

        Args:
            letter: the fields of a `Letter`.
            fetch: see there.
            quiet: close the process's output, where libraries would write prompts and paths.
        """
        self._letter, self._fetch = Letter(**letter), fetch
        self._said = _Said()
        self._worker: ChunkWorker | None = None
        self._place: _Place | None = None
        self._steps = (0, 0, 0)
        self._batches: tuple[tuple[int, int], ...] = ()
        logger = logging.getLogger("masactrl_video")
        if quiet:
            _close_output()
            logger.handlers[:], logger.propagate = [], False
            logger.setLevel(logging.WARNING)
        logger.addHandler(self._said)

    def begin(self) -> Answer:
        """Load all that the plan needs: ("ok",), or a fault."""
        return _tried(lambda: self._opened() and ("ok",), opening=True)

    def run(self, chunk: str, pictures: Mapping[str, bytes]) -> Answer:
        """Render a chunk: ("ok", the result as JSON, contents of files by name, warnings), or a fault.

        Args:
            chunk: as JSON.
            pictures: those of its controls and masks, where they come with it.
        """
        if self._worker is None and (begun := self.begin())[0] != "ok":  # the process is another than began
            return begun
        return _tried(lambda: self._ran(Chunk.model_validate_json(chunk), pictures))

    def steps(self) -> Answer:
        """("ok", steps that the frames in hand have taken, the last frame, its step)."""
        return ("ok", *self._steps)

    def leave(self) -> Answer:
        """Remove what was laid down here."""
        if self._place is not None:
            self._place.remove()
        logging.getLogger("masactrl_video").removeHandler(self._said)
        return ("ok",)

    def _opened(self) -> ChunkWorker:
        if self._worker is None:
            letter = self._letter
            _check_mark(letter)
            plan = RenderPlan.from_json(letter.plan)
            if not (letter.sources is None and letter.indices is None and not letter.files_back):
                self._place = _Place(letter.run)
                plan = self._place.lay_down(plan, letter, self._fetch)
            if plan.settings.device is not None and plan.settings.device.startswith("cuda:"):  # it sees its own alone
                plan = plan.model_copy(update={"settings": plan.settings.model_copy(update={"device": "cuda"})})
            progress = RenderSteps(plan.todo_frames, plan.frames, plan.settings.num_inference_steps, self._count)
            torch.set_num_threads(letter.threads)
            worker = ChunkWorker(plan, progress=progress, by_chunk=letter.indices is not None)
            self._worker = worker.__enter__()
        return self._worker

    def _count(self, progress: RenderProgress) -> None:
        self._steps = (self._taken(progress), progress.frame, progress.step)

    def _taken(self, progress: RenderProgress) -> int:
        """The steps before this one were taken by all batches, in turn; of this one, all up to this batch."""
        batches = self._batches
        upto = sum(end - first for first, end in batches if end - 1 <= progress.frame)
        return sum(end - first for first, end in batches) * progress.step + upto

    def _ran(self, chunk: Chunk, pictures: Mapping[str, bytes]) -> Answer:
        worker = self._opened()
        torch.set_num_threads(self._letter.threads)
        self._batches, self._steps = chunk.batches, (0, 0, 0)
        laid = [] if self._place is None else self._place.lay_pictures(pictures)
        result = worker.run(chunk)
        files: dict[str, bytes] = {}
        if self._letter.files_back:
            files = {f"{file.path.parent.name}/{file.path.name}": file.path.read_bytes() for file in result.files}
            laid += [file.path for file in result.files]
        for path in laid:
            path.unlink()
        self._steps = (0, 0, 0)
        return ("ok", result.model_dump_json(), files, self._said.taken())


class _Place:
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
                entry.model_copy(update={"folder": self._source(entry.folder.name, files, fetch)})
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

    def _source(self, name: str, files: Mapping[str, Any], fetch: Fetch) -> Path:
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


def _check_mark(letter: Letter) -> None:
    if letter.mark is None:
        return
    path, content = Path(letter.mark[0]), letter.mark[1]
    try:
        found = path.read_text(encoding="utf-8")
    except OSError:
        found = ""
    if found != content:
        raise UserError(
            f"the folder of --storage, {path.parent}, is not there, or is another than the owner's; mount it under the "
            "same path on all nodes, or leave --storage out"
        )


def _tried(work: Callable[[], Any], *, opening: bool = False) -> Answer:
    """What work answers, or its fault: the node's where it opens things, or where nobody knows whose it is."""
    try:
        answer: Answer = work()
        return answer
    except (StorageError, CacheDamaged) as error:
        return ("node", str(error))
    except UserError as error:
        return ("node" if opening or "memory" in str(error) else "plan", str(error))
    except Exception as error:
        return ("node", f"{type(error).__name__}: {error}")


class _Said(logging.Handler):
    """Keeps warnings for the owner."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self._messages.append(record.getMessage())

    def taken(self) -> list[str]:
        """Those since the last time."""
        messages, self._messages = self._messages, []
        return messages


def _close_output() -> None:
    os.environ["TQDM_DISABLE"] = "1"
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
    sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115, as long as the process
