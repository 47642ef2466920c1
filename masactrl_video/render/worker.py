"""Rendering chunks of a plan, in whatever process: what is named there is opened once, and checked against the plan."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from types import TracebackType

from pydantic import JsonValue

from masactrl_video.cache.recorded_source import CachedSource, is_reference
from masactrl_video.cache.store import CacheEntry, open_entry
from masactrl_video.controls.store import GuidanceFrames, read_index
from masactrl_video.errors import UserError
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.from_settings import model_from_settings
from masactrl_video.model.sampling.schedulers import make_scheduler
from masactrl_video.model.versions import versions
from masactrl_video.progress import check_cancelled
from masactrl_video.render.chunks import ChunkRenderer, ToDo
from masactrl_video.render.frames import Beside, FramesJob
from masactrl_video.render.job import frames_job, made_from
from masactrl_video.render.kept import check_kept, drop_damaged
from masactrl_video.render.plan import (
    ANEW,
    Chunk,
    ChunkResult,
    ControlledWhere,
    ControlPictures,
    RecordedEntry,
    RenderPlan,
    WrittenFile,
)
from masactrl_video.render.steps import RenderSteps
from masactrl_video.sources.control import planned_control, recorded_plan
from masactrl_video.sources.identity import network_identity
from masactrl_video.sources.live import is_live
from masactrl_video.sources.reference import NOTHING
from masactrl_video.sources.reopen import reopened
from masactrl_video.storage.fingerprint import hash_file, hash_module

_LOOK_AGAIN_SECONDS = 0.2


class ChunkWorker:
    """Renders chunks of one plan inside its context; the model stays loaded between them."""

    def __init__(
        self,
        plan: RenderPlan,
        model: DiffusionModel | None = None,
        *,
        job: FramesJob | None = None,
        progress: RenderSteps | None = None,
        wait_seconds: float = 0.0,
        by_chunk: bool = False,
    ) -> None:
        """Open what the plan names.

        Args:
            model: one that is loaded already; by default it is loaded as the plan's settings say.
            job: what the owner of the plan has open; then nothing is opened.
            progress: told of every step; by default only listeners are.
            wait_seconds: how long control pictures that are not there yet are waited for.
            by_chunk: control pictures need only be there while a chunk with them is rendered; their index must be.

        Raises:
            UserError: what is there is not what the plan was made for.
        """
        self.plan, self._chunks = plan, frozenset(plan.chunks)
        self._is_owner = job is not None  # whose run folder is there; one that was removed meanwhile stays so
        self.renderer = ChunkRenderer(
            job or open_job(plan, model, wait_seconds, by_chunk=by_chunk),
            plan.picture,
            plan.text,
            progress or RenderSteps(plan.todo_frames, plan.frames, plan.settings.num_inference_steps),
            batch_size=plan.batch_size,
            chunks=len(plan.chunks),
            mask_of=plan.mask,
            memory_bytes=plan.settings.cache_memory,
        )

    def __enter__(self) -> ChunkWorker:
        for folder in (self.plan.pictures, self.plan.masks):
            if folder is not None:
                folder.mkdir(parents=not self._is_owner, exist_ok=True)
        self.renderer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.renderer.__exit__(kind, error, trace)

    def run(self, chunk: Chunk) -> ChunkResult:
        """Render a chunk; pictures that are there and whole are kept.

        Raises:
            UserError: it is no chunk of the plan, a picture of another plan is there, or see `render_frames`.
        """
        return self.renderer.begin(self.prepare(chunk))()

    def prepare(self, chunk: Chunk) -> ToDo:
        """What of a chunk is still to be rendered; raises as `run` does."""
        if chunk not in self._chunks:
            raise UserError(f"plan: it has no chunk of frames {chunk.batches}; take one of its own")
        files = {frames: [path for frame in frames for path in self.plan.files(frame)] for frames in chunk.ranges()}
        drop_damaged([path for paths in files.values() for path in paths])
        check_kept([self.plan.picture(frame) for frames in files for frame in frames], self.plan.text["made-from"])
        todo = [frames for frames, paths in files.items() if not all(path.exists() for path in paths)]
        if todo and self.plan.settings.neighbour:  # frames depend on those before them in the chunk
            todo = list(files)
        kept = tuple(
            WrittenFile(path=path, sha256=hash_file(path))
            for frames, paths in files.items()
            for path in paths
            if frames not in todo
        )
        return ToDo(todo, kept)


def run_chunk(
    plan: RenderPlan, chunk: Chunk, model: DiffusionModel | None = None, *, wait_seconds: float = 0.0
) -> ChunkResult:
    """Render one chunk of a plan; `ChunkWorker` keeps the model for several. See there for the arguments.

    Raises:
        UserError: what is there is not what the plan was made for, or see `ChunkWorker.run`.
    """
    with ChunkWorker(plan, model, wait_seconds=wait_seconds) as worker:
        return worker.run(chunk)


def open_job(
    plan: RenderPlan, model: DiffusionModel | None = None, wait_seconds: float = 0.0, *, by_chunk: bool = False
) -> FramesJob:
    """What the plan names, opened to be read and checked; what costs less comes first. See `ChunkWorker`.

    Raises:
        UserError: anything is missing, or is not what the plan was made for.
    """
    _check_versions(plan.made_from)
    entries = [_open_source(source) for source in plan.sources]
    opened = partial(_open_pictures, plan=plan, wait_seconds=wait_seconds, by_chunk=by_chunk)
    guidance = list(map(opened, plan.controls))
    beside = Beside(**{name: opened(pictures) for name, pictures in plan.beside().items()})
    settings = plan.settings
    model = model or model_from_settings(settings)
    for source, entry in zip(plan.sources, entries, strict=True):
        _check_weights(source, plan, model, entry)
    if is_reference(entries[0]):
        control = NOTHING
        scheduler = make_scheduler(model, settings.scheduler, settings.num_inference_steps, plan.size_px)
    else:
        scheduler, control = planned_control(settings, model, plan.size_px)
    dtype = None if settings.cache_dtype == "exact" else model.dtype
    recorded = recorded_plan(settings, model, control)
    along = (settings, model, plan.size_px, scheduler, recorded.layers, recorded.steps)
    first, *later = (
        reopened(entry, *along) if is_live(entry) else CachedSource(entry, model.device, dtype)
        for entry in entries[: len(plan.followed)]
    )
    references = next((CachedSource(entry, model.device) for entry in entries[len(plan.followed) :]), None)
    if ControlledWhere.of(control) != plan.control:
        raise UserError(f"plan: its steps or layers are not those that its settings mean here; {ANEW}")
    timeline = plan.timeline
    opened_for = (first, beside, later, timeline, plan.skeletons, references)
    job = frames_job(settings, model, plan.size_px, guidance, scheduler, control, *opened_for)
    keys = [pictures.key for pictures in plan.given]
    here = made_from(model, job.denoising.text, keys, first, later, timeline, plan.skeletons, references)
    if here != plan.text["made-from"]:
        raise UserError(f"plan: the model, or what reads its prompts, is another here than where it was made; {ANEW}")
    return job


def _check_versions(made_from: Mapping[str, str]) -> None:
    for name, version in versions().items():
        planned = made_from.get(name)
        if name != "python" and planned != version:
            raise UserError(f"plan: it was made by {name} {planned}, here is {version}; take the same, or {ANEW}")


def _open_source(source: RecordedEntry) -> CacheEntry:
    folder = source.folder
    entry = open_entry(folder.parent, folder.name)
    if entry is None:
        raise UserError(f"plan: its source, cache entry {folder.name}, is not in {folder.parent}; {ANEW}")
    if entry.index.content != source.content:
        raise UserError(f"plan: its source, cache entry {folder.name}, was recorded anew with other numbers; {ANEW}")
    return entry


def _open_pictures(pictures: ControlPictures, plan: RenderPlan, wait_seconds: float, by_chunk: bool) -> GuidanceFrames:
    until_seconds = time.monotonic() + wait_seconds
    while not _are_there(pictures) and time.monotonic() < until_seconds:
        check_cancelled()
        time.sleep(_LOOK_AGAIN_SECONDS)
    folder = pictures.folder
    found = GuidanceFrames(folder, read_index(folder)) if by_chunk else GuidanceFrames.open(folder)
    height_px, width_px = plan.size_px
    if (found.key, len(found), found.size) != (pictures.key, plan.frames, (width_px, height_px)):
        raise UserError(f"plan: {pictures.folder} holds other pictures than those that it was made for; {ANEW}")
    return found


def _are_there(pictures: ControlPictures) -> bool:
    try:
        return read_index(pictures.folder).key == pictures.key
    except UserError:
        return False


def _check_weights(source: RecordedEntry, plan: RenderPlan, model: DiffusionModel, entry: CacheEntry) -> None:
    """See that the model is the one that recorded the source; decoder and text encoder are in `made_from`."""
    recorded = entry.index.determined_by
    own: dict[str, JsonValue] = {
        "device": model.device.type,
        "dtype": str(model.dtype),
        model.backbone.denoiser_part: network_identity(model.denoiser, model.backbone),
    }
    if not source.of_character and recorded["source"] == "generated":  # under the guidance of the frames
        own["networks"] = [*sorted(hash_module(network.module) for network in model.networks)]
        recorded = recorded | {"networks": [*sorted(_weights_of(recorded["guidance"]))]}
    for name, value in own.items():
        if recorded.get(name) != value:
            raise UserError(f"plan: its source was recorded by another model: the {name} differs here; {ANEW}")


def _weights_of(guidance: JsonValue) -> list[str]:
    """Of the networks that guided a source, as its identity has them."""
    assert isinstance(guidance, list)
    return [network["network"]["weights"] for network in guidance]  # type: ignore[index, call-overload, misc]
