"""A worker's side: it opens what a letter holds or names, on its own node, and renders chunk after chunk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from masactrl_video.engines.answers import Said, tried
from masactrl_video.engines.letter import Answer, Fetch, Letter
from masactrl_video.engines.place import Place
from masactrl_video.engines.work import own_device
from masactrl_video.errors import UserError
from masactrl_video.progress import RenderProgress
from masactrl_video.render.plan import Chunk, RenderPlan
from masactrl_video.render.steps import RenderSteps
from masactrl_video.render.worker import ChunkWorker


class NodeWorker:
    """Renders chunks where it runs. Nothing that it says goes to this process's output: it is all in its answers."""

    def __init__(self, letter: Mapping[str, Any], fetch: Fetch, *, quiet: bool = True) -> None:
        """Open nothing yet.

        Args:
            letter: the fields of a `Letter`.
            fetch: see there.
            quiet: see `Said`.
        """
        self._letter, self._fetch = Letter(**letter), fetch
        self._worker: ChunkWorker | None = None
        self._place: Place | None = None
        self._steps = (0, 0, 0)
        self._batches: tuple[tuple[int, int], ...] = ()
        self._said = Said(quiet=quiet)

    def begin(self) -> Answer:
        """Load all that the plan needs: ("ok",), or a fault."""
        return tried(lambda: self._opened() and ("ok",), opening=True)

    def run(self, chunk: str, pictures: Mapping[str, bytes]) -> Answer:
        """Render a chunk: ("ok", the result as JSON, contents of files by name, warnings), or a fault.

        Args:
            chunk: as JSON.
            pictures: those of its controls and masks, where they come with it.
        """
        if self._worker is None and (begun := self.begin())[0] != "ok":  # the process is another than began
            return begun
        return tried(lambda: self._ran(Chunk.model_validate_json(chunk), pictures))

    def steps(self) -> Answer:
        """("ok", steps that the frames in hand have taken, the last frame, its step)."""
        return ("ok", *self._steps)

    def leave(self) -> Answer:
        """Remove what was laid down here."""
        if self._place is not None:
            self._place.remove()
        self._said.leave()
        return ("ok",)

    def _opened(self) -> ChunkWorker:
        if self._worker is None:
            letter = self._letter
            _check_mark(letter)
            plan = RenderPlan.from_json(letter.plan)
            if not (letter.sources is None and letter.indices is None and not letter.files_back):
                self._place = Place(letter.run)
                plan = self._place.lay_down(plan, letter, self._fetch)
            own = {"device": own_device(plan.settings.device)}
            plan = plan.model_copy(update={"settings": plan.settings.model_copy(update=own)})
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
