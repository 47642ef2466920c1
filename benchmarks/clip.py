"""Frames rendered by this package and by diffusers alone, set up alike so that they can be compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from diffusers import (
    StableDiffusionControlNetPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLPipeline,
)
from numpy.typing import NDArray

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.plan import ControlPlan
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.model.backbones.branches import GUIDED, UNGUIDED
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.unet.controls import prepare_guidance
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.sampling.denoise import Denoising
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler
from masactrl_video.render.frames import FramesJob
from masactrl_video.settings.names import SchedulerName
from masactrl_video.sources.record import ObjectWords, cached_source
from masactrl_video.sources.source import GeneratedSource

SEED = 0

Result = TypeVar("Result")


@dataclass(frozen=True)
class Timed(Generic[Result]):
    """What some work returned and how long it took."""

    result: Result
    seconds: float
    """On the clock."""
    cpu_seconds: float
    """Of all threads together: depends less on what else the machine is doing."""


def timed(work: Callable[[], Result]) -> Timed[Result]:
    """Do the work and take its time."""
    _finish_on_gpu()
    start, cpu_start = time.perf_counter(), time.process_time()
    result = work()
    _finish_on_gpu()
    return Timed(result, time.perf_counter() - start, time.process_time() - cpu_start)


def _finish_on_gpu() -> None:
    """Wait until a GPU has done what it was told: it works beside the CPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@dataclass(frozen=True)
class Clip:
    """Frames to render with one ControlNet, from one prompt with classifier-free guidance."""

    model: DiffusionModel
    text: TextCondition
    pictures: NDArray[np.uint8]
    """Guidance, RGB (frames, height, width, 3)."""
    num_inference_steps: int
    scheduler_name: SchedulerName = "ddim"
    guidance_scale: float = 7.5

    @property
    def scheduler(self) -> Any:
        """With its timesteps set."""
        return make_scheduler(self.model, self.scheduler_name, self.num_inference_steps)

    @property
    def noise(self) -> torch.Tensor:
        """(1, channels, height, width), the same for all frames and the source."""
        height, width = self.pictures.shape[1:3]
        return initial_noise(self.model, (height, width), SEED)

    @property
    def denoising(self) -> Denoising:
        """What source and frames share."""
        return Denoising(self.model, self.text, self.guidance_scale, SEED)

    def record(self, root: Path, plan: ControlPlan, words: Sequence[int] = ()) -> CachedSource:
        """The source, generated under the first frame's guidance and recorded in a cache at `root`."""
        guidance = prepare_guidance(self.model.networks, [self.pictures[:1]])
        source = GeneratedSource(self.denoising, self.scheduler, self.noise, guidance)
        branches = GUIDED if self.text.branches == 2 else UNGUIDED
        return cached_source(root, self.model, source, branches, plan, ObjectWords(tuple(words)))

    def job(self, source: CachedSource, plan: ControlPlan, words: Sequence[int] = ()) -> FramesJob:
        """The frames, to be rendered against the source."""
        masks = MaskRule(tuple(words)) if words else None
        return FramesJob(
            self.denoising, self.scheduler, source, source.initial_noise, plan, [list(self.pictures)], masks
        )

    def plain(self, output_type: str = "np") -> Callable[[Sequence[int]], Any]:
        """The same frames by diffusers' own ControlNet pipeline: frame numbers → pictures (or `latent`)."""
        pipe, network = self.model.pipe, self.model.networks[0]
        xl = isinstance(pipe, StableDiffusionXLPipeline)
        kind = StableDiffusionXLControlNetPipeline if xl else StableDiffusionControlNetPipeline
        extra = {"add_watermarker": False} if xl else {"requires_safety_checker": False}
        plain = kind(**pipe.components, controlnet=network.module, **extra)
        plain.set_progress_bar_config(disable=True)

        def render(frames: Sequence[int]) -> Any:
            return plain(
                image=network.prepare(self.pictures[list(frames)]),
                latents=self.noise.repeat(len(frames), 1, 1, 1),
                num_inference_steps=self.num_inference_steps,
                guidance_scale=self.guidance_scale,
                controlnet_conditioning_scale=network.scale,
                output_type=output_type,
                **self._embeddings(len(frames)),
            ).images

        return render

    def _embeddings(self, frames: int) -> dict[str, torch.Tensor]:
        tensors = {"prompt_embeds": self.text.hidden_states}
        if self.text.pooled is not None:
            tensors["pooled_prompt_embeds"] = self.text.pooled
        both = {}
        for name, (negative, positive) in tensors.items():
            repeats = (frames,) + (1,) * positive.ndim
            both |= {name: positive.repeat(repeats), f"negative_{name}": negative.repeat(repeats)}
        return both


def random_pictures(frames: int, height_px: int, width_px: int) -> NDArray[np.uint8]:
    """Guidance that shows nothing, for times and memory: RGB (frames, height, width, 3)."""
    return np.random.default_rng(SEED).integers(0, 256, (frames, height_px, width_px, 3), dtype=np.uint8)
