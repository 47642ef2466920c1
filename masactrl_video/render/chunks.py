"""Rendering a clip's frames: chunk by chunk, each looked at before it is written."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from masactrl_video.attention.session import AttentionControl
from masactrl_video.cache.feed import SourceFeed
from masactrl_video.controls.extract import frame_ranges
from masactrl_video.errors import UserError
from masactrl_video.model.memory import BatchSize, enough_memory
from masactrl_video.model.sampling.latents import decode_latents
from masactrl_video.progress import RenderAdvanced, RenderProgress, RenderTask, carried, check_cancelled, emit, telling
from masactrl_video.render.frames import FramesJob, denoise_chunk, fed
from masactrl_video.render.overflow import OnStep, finite_frames, first_overflow, in_float32
from masactrl_video.video.png import write_png

logger = logging.getLogger(__name__)

LEAST_SOURCE_SHARE = 0.001
"""Of a frame's attention, at its last controlled step: less of it on the source is no influence."""


def render_frames(
    job: FramesJob,
    paths: Sequence[Path],
    *,
    batch_size: int,
    chunk_frames: int,
    text: dict[str, str],
    mask_paths: Sequence[Path] = (),
    cache_memory_bytes: int = 0,
    tell: Callable[[RenderProgress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Render every frame whose picture, or mask, is not there yet.

    Batches are always cut at multiples of `batch_size`: sums in floating point depend on a batch's composition, and
    frames must come out the same after an interruption. When the device's memory does not hold a batch, it is halved
    from there on (see `memory`).

    Args:
        paths: where the picture of each frame goes.
        chunk_frames: frames whose latents are in memory at the same time; bounds memory for any length of clip.
        text: parameters, written into every picture.
        mask_paths: masked mode: where each frame's object map of the last controlled step goes; empty: nowhere.
        cache_memory_bytes: a recorded source that fits into so many is held in memory; others are read for each chunk.
        tell: called after every UNet call.

    Returns:
        Figures for the report: frames rendered and kept, and the count of controlled attention calls.

    Raises:
        UserError: a frame's numbers are not finite, in float32 either; step and layer are named. Or there is not enough
            memory for one frame.
    """
    batches = [range(first, min(first + batch_size, len(paths))) for first in range(0, len(paths), batch_size)]
    made = [paths, mask_paths] if mask_paths else [paths]
    todo = [frames for frames in batches if not all(kind[frame].exists() for kind in made for frame in frames)]
    per_chunk = max(1, chunk_frames // batch_size)
    todo_frames, size = sum(len(frames) for frames in todo), BatchSize(batch_size)
    progress = RenderSteps(todo_frames, len(paths), len(job.scheduler.timesteps), tell)
    with (
        telling(progress.task),
        fed(job, -(-len(todo) // per_chunk), cache_memory_bytes) as job,
        writing_beside() as write,
    ):
        chunks = _Chunks(job, paths, mask_paths, lambda path, picture: write(path, picture, text), progress)
        for first in range(0, len(todo), per_chunk):
            chunk = todo[first : first + per_chunk]
            with enough_memory(f"one frame of {job.width_px}x{job.height_px} on {job.denoising.model.device}"):
                size.within_memory(chunk, chunks.render)
            if len(paths) > 1:
                logger.info("render: frames done: %d of %d", chunk[-1][-1] + 1, len(paths))
    figures = {"frames": len(paths), "frames_rendered": todo_frames, "batch_size": batch_size}
    feed = {"cache": job.source.figures()} if isinstance(job.source, SourceFeed) else {}
    return figures | {"batch_size_at_the_end": size.frames} | chunks.figures() | feed


class _Chunks:
    """Denoises chunk after chunk, looks at what comes out, and writes it."""

    def __init__(
        self,
        job: FramesJob,
        paths: Sequence[Path],
        mask_paths: Sequence[Path],
        write: Callable[[Path, NDArray[np.uint8]], None],
        progress: RenderSteps,
    ) -> None:
        self._job, self._paths, self._mask_paths = job, paths, mask_paths
        self._write, self._progress = write, progress
        self._attention: Counter[str] = Counter()
        self._source_share: dict[int, float] = {}
        self._again: list[int] = []
        self._black: list[int] = []

    def figures(self) -> dict[str, Any]:
        """For the report."""
        plan = self._job.plan
        without = sorted(frame for frame, share in self._source_share.items() if share < LEAST_SOURCE_SHARE)
        if without and plan.steps and plan.layers:
            logger.warning("%s: the source had no influence, or next to none, on what they show", frame_ranges(without))
        if self._black:
            logger.warning("%s: black all over, in float32 too", frame_ranges(sorted(self._black)))
        return {
            "attention": {"steps": len(plan.steps), "layers": len(plan.layers), **self._attention},
            "lowest_source_share": round(min(self._source_share.values(), default=1.0), 6),
            "frames_without_source": without,
            "frames_again_in_float32": sorted(self._again),
            "frames_black": sorted(self._black),
        }

    def render(self, batches: Sequence[Sequence[int]]) -> None:
        """Denoise and write some batches."""
        self._progress.begin_chunk()
        for frames, latents in zip(batches, self._denoise(self._job, batches, self._progress.step), strict=True):
            for frame, picture in zip(frames, self._decode(frames, latents), strict=True):
                if not self._paths[frame].exists():  # one that is may be in the video already
                    self._write(self._paths[frame], picture)
        self._progress.end_chunk()

    def _denoise(self, job: FramesJob, batches: Sequence[Sequence[int]], tell: OnStep) -> list[torch.Tensor]:
        last = job.plan.acting_steps[-1] if job.plan.acting_steps else len(job.scheduler.timesteps) - 1
        with job.controlled() as control:

            def on_step(step: int, frames: Sequence[int]) -> None:
                tell(step, frames)
                if step == last:
                    self._source_share |= dict(zip(frames, control.source_share(len(frames)), strict=True))
                    if self._mask_paths:
                        _write_masks(control, [self._mask_paths[frame] for frame in frames])

            latents = denoise_chunk(job, control, batches, on_step)
        figures = control.check_fired(calls_per_step=len(batches))
        self._attention.update({name: count for name, count in figures.items() if name not in ("steps", "layers")})
        return latents

    def _decode(self, frames: Sequence[int], latents: torch.Tensor) -> list[NDArray[np.uint8]]:
        """A picture for each frame; those that failed in half precision are made again in float32."""
        model = self._job.denoising.model
        finite = finite_frames(latents)
        made = {f: decode_latents(model, latents[n : n + 1])[0] for n, f in enumerate(frames) if finite[n]}
        is_half = model.dtype != torch.float32
        bad = [f for f in frames if f not in made or (is_half and not made[f].any())]
        if bad:
            made |= self._decode_again(frames, bad, is_half)
        self._black += [f for f in frames if not made[f].any()]
        return [made[f] for f in frames]

    def _decode_again(self, frames: Sequence[int], bad: Sequence[int], is_half: bool) -> dict[int, NDArray[np.uint8]]:
        model = self._job.denoising.model
        if not is_half:
            raise self._overflow(self._job, frames, bad)
        which = f"{frame_ranges(bad)}: numbers ran over in {str(model.dtype).removeprefix('torch.')}"
        logger.warning("%s, or the picture came out black: made again in float32", which)
        with in_float32(model):
            job = self._job.in_float32()
            (latents,) = self._denoise(job, [frames], lambda step, frames: None)
            finite = finite_frames(latents)
            if not all(finite[frames.index(f)] for f in bad):
                raise self._overflow(job, frames, bad)
            self._again += bad
            return {f: decode_latents(model, latents[frames.index(f)][None])[0] for f in bad}

    def _overflow(self, job: FramesJob, frames: Sequence[int], bad: Sequence[int]) -> UserError:
        where = first_overflow(job.denoising.model, lambda on_step: self._denoise(job, [frames], on_step))
        return UserError(
            f"{frame_ranges(bad)}: numbers are not finite in float32 either, first {where}; is the model, or a LoRA, "
            "damaged? the frames before are kept"
        )


def _write_masks(control: AttentionControl, paths: Sequence[Path]) -> None:
    maps = control.target_object_map()
    if maps is None:  # the masks were given
        return
    for path, object_map in zip(paths, maps.cpu().numpy(), strict=True):
        grey = np.round(object_map * 255).astype(np.uint8)
        write_png(path, np.repeat(grey[..., None], 3, axis=2))


class RenderSteps:
    """Says how far a clip's frames are. What is begun anew is not counted twice.

    The frames of a chunk are done together, at its last step; progress and time left go by the steps that they have
    taken.
    """

    def __init__(self, todo_frames: int, frames: int, steps: int, tell: Callable[[RenderProgress], None]) -> None:
        self._frames, self._steps, self._tell = frames, steps, tell
        self._kept_frames, self._total = frames - todo_frames, todo_frames * steps
        self._done, self._sure = 0, 0  # steps that frames have taken; those of them that are not taken anew
        self._done_frames, self._sure_frames = 0, 0
        self.task = RenderTask("render", "step", frames * steps, done_before=self._kept_frames * steps, frames=frames)
        self._started_seconds = time.perf_counter()

    def begin_chunk(self) -> None:
        """A chunk begins, perhaps anew."""
        check_cancelled()
        self._done, self._done_frames = self._sure, self._sure_frames
        self._emit(None)

    def end_chunk(self) -> None:
        """Its frames are written."""
        self._sure, self._sure_frames = self._done, self._done_frames

    def step(self, step: int, frames: Sequence[int]) -> None:
        """Frames took a denoising step."""
        check_cancelled()
        self._done += len(frames)
        self._done_frames += len(frames) if step == self._steps - 1 else 0
        self._emit(step)
        pace = (time.perf_counter() - self._started_seconds) / self._done
        left = round(pace * (self._total - self._done), 1)
        progress = RenderProgress(frames[-1], self._frames, step, self._steps, left)
        emit(progress)
        self._tell(progress)

    def _emit(self, step: int | None) -> None:
        done, frames = self.task.done_before + self._done, self._kept_frames + self._done_frames
        emit(RenderAdvanced(self.task, done, frames, step, self._steps))


_MAX_WAITING = 8
"""Pictures in memory that are not yet on the disk."""

Write = Callable[[Path, NDArray[np.uint8], Mapping[str, str]], None]


@contextmanager
def writing_beside() -> Iterator[Write]:
    """Inside the context, `write_png` in a thread: in the order of the calls, and whole when the context ends.

    What cannot be written raises at a later call, or at the end. After an exception, Ctrl-C too, pictures that were
    handed over are still written.
    """
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="pictures") as writer:

        def write(path: Path, picture: NDArray[np.uint8], text: Mapping[str, str]) -> None:
            while waiting and (waiting[0].done() or len(waiting) >= _MAX_WAITING):
                waiting.popleft().result()
            waiting.append(writer.submit(carried(write_png), path, picture, text))

        yield write
        for written in waiting:
            written.result()
