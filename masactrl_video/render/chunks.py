"""Rendering a clip's frames: chunk by chunk, each looked at before it is written."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from masactrl_video.attention.session import AttentionControl
from masactrl_video.cache.feed import SourceFeed
from masactrl_video.controls.extract import frame_ranges
from masactrl_video.errors import UserError
from masactrl_video.model.memory import BatchSize, enough_memory
from masactrl_video.model.sampling.latents import decode_latents
from masactrl_video.progress import RenderProgress, telling
from masactrl_video.render.figures import RenderFigures, figures_of
from masactrl_video.render.frames import FramesJob, denoise_chunk, fed
from masactrl_video.render.overflow import OnStep, finite_frames, first_overflow, in_float32
from masactrl_video.render.plan import ChunkResult, SourceReads, WrittenFile, cut_chunks
from masactrl_video.render.steps import RenderSteps
from masactrl_video.render.writing import writing_beside
from masactrl_video.storage.fingerprint import hash_file
from masactrl_video.video.png import write_png

logger = logging.getLogger(__name__)

Pending = Callable[[], ChunkResult]
"""Waits until the pictures of a chunk that was rendered are on the disk."""


def render_frames(
    job: FramesJob,
    paths: Sequence[Path],
    *,
    batch_size: int,
    chunk_frames: int,
    text: dict[str, str],
    cache_memory_bytes: int = 0,
    tell: Callable[[RenderProgress], None] = lambda progress: None,
) -> RenderFigures:
    """Render every frame whose picture is not there yet, in batches that `cut_chunks` cuts.

    When the device's memory does not hold a batch, it is halved from there on (see `memory`).

    Args:
        paths: where the picture of each frame goes.
        chunk_frames: frames whose latents are in memory at the same time; bounds memory for any length of clip.
        text: parameters, written into every picture.
        cache_memory_bytes: a recorded source that fits into so many is held in memory; others are read for each chunk.
        tell: called after every UNet call.

    Returns:
        Figures for the report: frames rendered and kept, and the count of controlled attention calls.

    Raises:
        UserError: a frame's numbers are not finite, in float32 either; step and layer are named. Or there is not enough
            memory for one frame.
    """
    cut = cut_chunks(len(paths), batch_size, chunk_frames, [paths.__getitem__], whole=job.neighbour > 0)
    chunks = [ToDo(chunk.ranges()) for chunk in cut]
    todo_frames = sum(len(frames) for chunk in chunks for frames in chunk.batches)
    progress = RenderSteps(todo_frames, len(paths), len(job.scheduler.timesteps), tell)
    renderer = ChunkRenderer(
        job,
        paths.__getitem__,
        text,
        progress,
        batch_size=batch_size,
        chunks=len(chunks),
        memory_bytes=cache_memory_bytes,
    )
    with renderer:
        results = list(one_behind(renderer.begin, chunks))
    return figures_of(results, len(paths), batch_size, job.plan)


class ToDo(NamedTuple):
    """A chunk that is to be rendered."""

    batches: Sequence[range]
    """The frames of each batch; none where all is there already."""
    kept: tuple[WrittenFile, ...] = ()
    """Files of other frames, that are there and whole."""


def one_behind(begin: Callable[[ToDo], Pending], chunks: Iterable[ToDo]) -> Iterator[ChunkResult]:
    """The result of each chunk, while the next one is already rendered: its pictures are written meanwhile."""
    before: Pending | None = None
    for chunk in chunks:
        begun = begin(chunk)
        if before is not None:
            yield before()
        before = begun
    if before is not None:
        yield before()


@dataclass
class _Seen:
    """What is found out about a chunk while it is rendered."""

    attention: Counter[str] = field(default_factory=Counter)
    source_shares: dict[int, float] = field(default_factory=dict)
    again: list[int] = field(default_factory=list)
    black: list[int] = field(default_factory=list)
    files: dict[Path, str | Future[str]] = field(default_factory=dict)
    """With their SHA-256."""


class ChunkRenderer:
    """Denoises chunk after chunk inside its context, looks at what comes out, and writes it.

    Between chunks it keeps what was read of the source, and the batch size that memory holds.
    """

    def __init__(
        self,
        job: FramesJob,
        picture_of: Callable[[int], Path],
        text: Mapping[str, str],
        progress: RenderSteps,
        *,
        batch_size: int,
        chunks: int,
        mask_of: Callable[[int], Path | None] = lambda frame: None,
        memory_bytes: int = 0,
    ) -> None:
        """Begin nothing yet.

        Args:
            picture_of: frame → where its picture goes.
            chunks: how many there will be, so that the source is read ahead for them.
            mask_of: masked mode: frame → where its object map of the last controlled step goes.
            memory_bytes: a source that fits into so many is held in memory.
        """
        self._job, self._picture_of, self._mask_of = job, picture_of, mask_of
        self._text, self._progress, self._size = text, progress, BatchSize(batch_size)
        self._chunks, self._memory_bytes = chunks, memory_bytes
        self._told = (0, 0.0)
        self._open = ExitStack()

    def __enter__(self) -> ChunkRenderer:
        with ExitStack() as stack:
            stack.enter_context(telling(self._progress.task))
            self._job = stack.enter_context(fed(self._job, self._chunks, self._memory_bytes))
            self._write = stack.enter_context(writing_beside())
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def begin(self, chunk: ToDo) -> Pending:
        """Render a chunk; its pictures are on the disk when what is returned has returned.

        Raises:
            UserError: see `render_frames`.
        """
        if not chunk.batches:
            return lambda: ChunkResult(files=chunk.kept, batch_size=self._size.frames)
        begun_seconds, seen, job = time.perf_counter(), _Seen(), self._job
        with enough_memory(f"one frame of {job.width_px}x{job.height_px} on {job.denoising.model.device}"):
            for attempt in self._size.attempts(chunk.batches):
                with attempt as together:
                    batches = job.apart(together)
                    self._progress.begin_chunk()
                    with self._controlled(job, batches, self._progress.step, seen) as (control, on_step):
                        latents = denoise_chunk(job, control, batches, on_step)
                    self._look_and_write(batches, latents, seen)
                    self._progress.end_chunk()
        if (frames := self._progress.task.frames) > 1:
            logger.info("render: frames done: %d of %d", chunk.batches[-1][-1] + 1, frames)
        seconds, size, reads = time.perf_counter() - begun_seconds, self._size.frames, self._reads()

        def result() -> ChunkResult:
            files = {path: found.result() if isinstance(found, Future) else found for path, found in seen.files.items()}
            return ChunkResult(
                files=(
                    *chunk.kept,
                    *(WrittenFile(path=path.absolute(), sha256=files[path]) for path in sorted(files)),
                ),
                frames_rendered=sum(map(len, chunk.batches)),
                batch_size=size,
                attention=dict(seen.attention),
                source_shares=seen.source_shares,
                again_in_float32=tuple(seen.again),
                black=tuple(seen.black),
                reads=reads,
                seconds=round(seconds, 3),
            )

        return result

    def _reads(self) -> SourceReads:
        """What reading the source has cost since it was last asked."""
        sources = [part.source for part in self._job.parts] or [self._job.source]
        feeds = [source for source in sources if isinstance(source, SourceFeed)]
        if not feeds:
            return SourceReads()
        before, self._told = self._told, (sum(feed.reads for feed in feeds), sum(feed.waited_seconds for feed in feeds))
        return SourceReads(
            held_in_memory=any(feed.is_held for feed in feeds),
            steps_read=self._told[0] - before[0],
            waited_seconds=self._told[1] - before[1],
        )

    @contextmanager
    def _controlled(
        self, job: FramesJob, batches: Sequence[Sequence[int]], tell: OnStep, seen: _Seen
    ) -> Iterator[tuple[AttentionControl, OnStep]]:
        """Inside the context, the batches may be denoised, with the control and the callback that it yields."""
        last = job.plan.acting_steps[-1] if job.plan.acting_steps else len(job.scheduler.timesteps) - 1
        with job.controlled() as control:

            def on_step(step: int, frames: Sequence[int]) -> None:
                tell(step, frames)
                if step == last:
                    seen.source_shares |= dict(zip(frames, control.source_share(len(frames)), strict=True))
                    self._write_masks(control, frames, seen)

            yield control, on_step
        has_windows = job.still_ground is not None and job.still_ground.margin is not None
        figures = control.check_fired(calls_per_step=None if has_windows else len(batches))
        seen.attention.update({name: count for name, count in figures.items() if name not in ("steps", "layers")})

    def _write_masks(self, control: AttentionControl, frames: Sequence[int], seen: _Seen) -> None:
        paths = [path for path in map(self._mask_of, frames) if path is not None]
        maps = control.figures.shown_map() if paths else None
        if maps is None:  # they are not wanted, or were given
            return
        for path, object_map in zip(paths, maps.cpu().numpy(), strict=True):
            grey = np.round(object_map * 255).astype(np.uint8)
            seen.files[path] = write_png(path, np.repeat(grey[..., None], 3, axis=2))

    def _look_and_write(self, batches: Sequence[Sequence[int]], latents: Sequence[torch.Tensor], seen: _Seen) -> None:
        for number, (frames, batch) in enumerate(zip(batches, latents, strict=True)):
            upto = batches[: number + 1] if self._job.neighbour else [frames]  # what these frames depend on
            for frame, picture in zip(frames, self._decode(upto, batch, seen), strict=True):
                path = self._picture_of(frame)
                if path.exists():  # it may be in the video already
                    seen.files.setdefault(path, hash_file(path))
                else:
                    seen.files[path] = self._write(path, picture, self._text)

    def _decode(self, batches: Sequence[Sequence[int]], latents: torch.Tensor, seen: _Seen) -> list[NDArray[np.uint8]]:
        """A picture for each frame of the last batch; those that failed in half precision are made again in float32.

        Args:
            batches: which it takes to make them again.
        """
        model, frames = self._job.denoising.model, batches[-1]
        finite = finite_frames(latents)
        made = {f: decode_latents(model, latents[n : n + 1])[0] for n, f in enumerate(frames) if finite[n]}
        is_half = model.dtype != torch.float32
        bad = [f for f in frames if f not in made or (is_half and not made[f].any())]
        if bad and not is_half:
            raise self._overflow(self._job, batches, bad)
        if bad:
            made |= self._decode_again(batches, bad, seen)
        seen.black += [f for f in frames if not made[f].any()]
        return [made[f] for f in frames]

    def _decode_again(
        self, batches: Sequence[Sequence[int]], bad: Sequence[int], seen: _Seen
    ) -> dict[int, NDArray[np.uint8]]:
        model, frames = self._job.denoising.model, batches[-1]
        which = f"{frame_ranges(bad)}: numbers ran over in {str(model.dtype).removeprefix('torch.')}"
        logger.warning("%s, or the picture came out black: made again in float32", which)
        with in_float32(model):
            job = self._job.in_float32()
            with self._controlled(job, batches, lambda step, frames: None, seen) as (control, on_step):
                *_, latents = denoise_chunk(job, control, batches, on_step)
            finite = finite_frames(latents)
            if not all(finite[frames.index(f)] for f in bad):
                raise self._overflow(job, batches, bad)
            seen.again += bad
            return {f: decode_latents(model, latents[frames.index(f)][None])[0] for f in bad}

    def _overflow(self, job: FramesJob, batches: Sequence[Sequence[int]], bad: Sequence[int]) -> UserError:
        def denoise(tell: OnStep) -> None:
            with self._controlled(job, batches, tell, _Seen()) as (control, on_step):
                denoise_chunk(job, control, batches, on_step)

        where = first_overflow(job.denoising.model, denoise)
        return UserError(
            f"{frame_ranges(bad)}: numbers are not finite in float32 either, first {where}; is the model, or a LoRA, "
            "damaged? the frames before are kept"
        )
