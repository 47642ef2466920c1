"""Rendering frames against a recorded source: chunk by chunk, step by step, batch by batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from masactrl_video.attention.branches import GUIDED, UNGUIDED, Branch
from masactrl_video.attention.control import AttentionControl, MaskRule
from masactrl_video.attention.plan import ControlPlan
from masactrl_video.attention.recorded import RecordedSource
from masactrl_video.attention.region_control import RegionSource, control_regions
from masactrl_video.attention.use import control_attention
from masactrl_video.cache.feed import SourceFeed, reading_ahead
from masactrl_video.cache.source import CachedSource
from masactrl_video.errors import UserError
from masactrl_video.model.denoise import Denoising, FrameBatch
from masactrl_video.model.guidance_network import prepare_guidance
from masactrl_video.model.latents import decode_latents, initial_noise
from masactrl_video.render.writing import Write, writing_beside
from masactrl_video.settings.names import Ground, NoiseKind
from masactrl_video.video.png import write_png

logger = logging.getLogger(__name__)


class Pictures(Protocol):
    """Pictures that are read when they are needed."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        """RGB uint8 (height, width, 3)."""


@dataclass(frozen=True)
class FramesJob:
    """Everything that rendering a frame needs besides its number."""

    denoising: Denoising
    scheduler: Any
    source: RecordedSource
    source_noise: torch.Tensor
    """(1, channels, height, width): z_T of the source."""
    plan: ControlPlan
    guidance: Sequence[Pictures]
    """One for each network of the model."""
    masks: MaskRule | None = None
    target_masks: Pictures | None = None
    """Given masks of the frames, white where the object is, instead of masks by words."""
    noise: NoiseKind = "shared"
    regions: Sequence[RegionSource] = ()
    """Several sources, each for its part of the picture; then `source` and `masks` are not asked."""
    ground: Ground = "self"
    """What the rest of the picture attends to where there are `regions`."""
    region_threshold: float = 0.1
    """Normalised attention from which a token belongs to the object of a region."""

    def noise_of(self, frames: Sequence[int]) -> torch.Tensor:
        """Initial noise (frames, channels, height, width), standard normal; the source's for all unless per frame."""
        if self.noise == "shared":
            return self.source_noise.expand(len(frames), -1, -1, -1)
        model = self.denoising.model
        height, width = self.source_noise.shape[-2:]
        size_px = (height * model.vae_scale_factor, width * model.vae_scale_factor)
        return torch.cat([initial_noise(model, size_px, self.denoising.seed + 1 + frame) for frame in frames])

    def batch(self, frames: Sequence[int]) -> FrameBatch:
        """Frames at the beginning of their denoising."""
        pictures = [np.stack([kind[frame] for frame in frames]) for kind in self.guidance]
        guidance = prepare_guidance(self.denoising.model.networks, pictures)
        return FrameBatch.from_noise(self.noise_of(frames), guidance, self.scheduler)

    def given_masks(self, frames: Sequence[int]) -> torch.Tensor | None:
        """Given masks of a batch, (frames, height, width) bool."""
        if self.target_masks is None:
            return None
        stacked = np.stack([self.target_masks[frame] for frame in frames])
        return torch.from_numpy(stacked[..., 0] > 127).to(self.denoising.model.device)

    def branches_at(self, step: int) -> Sequence[Branch]:
        """The rows of the UNet's calls at a denoising step."""
        both = self.denoising.text_at(step, len(self.scheduler.timesteps)).branches == 2
        return GUIDED if both else UNGUIDED

    def controlled(self) -> AbstractContextManager[AttentionControl]:
        """Context in which the UNet follows the plan; it yields the `AttentionControl`."""
        branches = GUIDED if self.denoising.text.branches == 2 else UNGUIDED
        if self.regions:
            return control_regions(
                self.denoising.model.unet,
                self.regions,
                self.plan,
                branches=branches,
                ground=self.ground,
                threshold=self.region_threshold,
            )
        return control_attention(self.denoising.model.unet, self.source, self.plan, branches=branches, masks=self.masks)


@contextmanager
def fed(job: FramesJob, chunks: int, memory_bytes: int = 0) -> Iterator[FramesJob]:
    """The job with its sources read one step ahead, for so many chunks of frames.

    Args:
        memory_bytes: a source of all frames that fits into so many is held in memory for the later chunks.
    """
    order = job.plan.steps * chunks if job.plan.layers else ()
    with ExitStack() as stack:

        def feed(source: RecordedSource, memory_bytes: int) -> RecordedSource:
            if not isinstance(source, CachedSource):
                return source
            return stack.enter_context(reading_ahead(source, order, memory_bytes))

        regions = [replace(region, source=feed(region.source, 0)) for region in job.regions]
        yield replace(job, source=job.source if regions else feed(job.source, memory_bytes), regions=regions)


def denoise_chunk(
    job: FramesJob,
    control: AttentionControl,
    batches: Sequence[Sequence[int]],
    on_step: Callable[[int, Sequence[int]], None] = lambda step, frames: None,
) -> list[torch.Tensor]:
    """Denoise several batches side by side, so that each step of the source is read once for all of them.

    Args:
        batches: frame numbers of each batch.
        on_step: called with the step's index and the batch's frames after every UNet call.

    Returns:
        Latents (frames, channels, height, width) of each batch.
    """
    started = [job.batch(frames) for frames in batches]
    masks = [job.given_masks(frames) for frames in batches]
    for step in range(len(job.scheduler.timesteps)):
        for frames, batch, mask in zip(batches, started, masks, strict=True):
            control.target_mask = mask
            control.use_branches(job.branches_at(step))
            job.denoising.step(batch, step)
            on_step(step, frames)
    return [batch.latents for batch in started]


def render_frames(
    job: FramesJob,
    paths: Sequence[Path],
    *,
    batch_size: int,
    chunk_frames: int,
    text: dict[str, str],
    mask_paths: Sequence[Path] = (),
    cache_memory_bytes: int = 0,
) -> dict[str, Any]:
    """Render every frame whose picture, or mask, is not there yet.

    Batches are always cut at multiples of `batch_size`: sums in floating point depend on a batch's composition, and
    frames must come out the same after an interruption.

    Args:
        paths: where the picture of each frame goes.
        chunk_frames: frames whose latents are in memory at the same time; bounds memory for any length of clip.
        text: parameters, written into every picture.
        mask_paths: masked mode: where each frame's object map of the last controlled step goes; empty: nowhere.
        cache_memory_bytes: a recorded source that fits into so many is held in memory; others are read for each chunk.

    Returns:
        Figures for the report: frames rendered and kept, and the count of controlled attention calls.
    """
    batches = [range(first, min(first + batch_size, len(paths))) for first in range(0, len(paths), batch_size)]
    made = [paths, mask_paths] if mask_paths else [paths]
    todo = [frames for frames in batches if not all(kind[frame].exists() for kind in made for frame in frames)]
    per_chunk = max(1, chunk_frames // batch_size)
    steps = len(job.scheduler.timesteps)
    todo_frames = sum(len(frames) for frames in todo)
    with (
        fed(job, -(-len(todo) // per_chunk), cache_memory_bytes) as job,
        job.controlled() as control,
        writing_beside() as write,
        tqdm(total=todo_frames * steps, desc="render", unit="frame·step", smoothing=0.05) as progress,
    ):

        def on_step(step: int, frames: Sequence[int]) -> None:
            progress.set_postfix_str(f"frame {frames[0] + 1}-{frames[-1] + 1} of {len(paths)}, step {step + 1}/{steps}")
            progress.update(len(frames))
            if mask_paths and step == job.plan.steps[-1]:
                _write_masks(control, [mask_paths[frame] for frame in frames])

        for first in range(0, len(todo), per_chunk):
            chunk = todo[first : first + per_chunk]
            for frames, latents in zip(chunk, denoise_chunk(job, control, chunk, on_step), strict=True):
                _write_batch(job, write, paths, frames, latents, text)
            if len(paths) > 1:
                logger.info("render: %d of %d frames are done", chunk[-1][-1] + 1, len(paths))
    figures = control.check_fired(calls_per_step=len(todo))
    feed = {"cache": job.source.figures()} if isinstance(job.source, SourceFeed) else {}
    return {"frames": len(paths), "frames_rendered": todo_frames, "batch_size": batch_size, "attention": figures} | feed


def _write_batch(
    job: FramesJob,
    write: Write,
    paths: Sequence[Path],
    frames: Sequence[int],
    latents: torch.Tensor,
    text: dict[str, str],
) -> None:
    check_finite(latents, [f"frame {frame}" for frame in frames], job.denoising.model.dtype)
    for frame, picture in zip(frames, decode_latents(job.denoising.model, latents), strict=True):
        write(paths[frame], picture, text)


def check_finite(latents: torch.Tensor, names: Sequence[str], dtype: torch.dtype) -> None:
    """See that latents (pictures, channels, height, width) can be decoded.

    Raises:
        UserError: numbers that overflowed; it tells the picture's name.
    """
    finite = latents.flatten(1).isfinite().all(dim=1).tolist()
    for name, good in zip(names, finite, strict=True):
        if not good:
            raise UserError(
                f"{name}: its latents are not finite numbers in {dtype}; render with --dtype float32 (or bfloat16)"
            )


def _write_masks(control: AttentionControl, paths: Sequence[Path]) -> None:
    maps = control.target_object_map()
    if maps is None:  # the masks were given
        return
    for path, object_map in zip(paths, maps.cpu().numpy(), strict=True):
        grey = np.round(object_map * 255).astype(np.uint8)
        write_png(path, np.repeat(grey[..., None], 3, axis=2))
