"""Ways to make the same frames, each as a function of nothing, for `turns.by_turns`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from clip import Clip

from masactrl_video.attention.branches import GUIDED
from masactrl_video.attention.layers import layers_from, self_attention_layers
from masactrl_video.attention.plan import ControlPlan
from masactrl_video.attention.record import record_attention
from masactrl_video.attention.recorded import MemorySource, RecordedSource
from masactrl_video.cache.source import CachedSource
from masactrl_video.model.guidance_network import prepare_guidance
from masactrl_video.model.latents import decode_latents
from masactrl_video.render.frames import FramesJob, denoise_chunk
from masactrl_video.source.source import GeneratedSource


def ours(job: FramesJob, frames: Sequence[int], *, decode: bool = True) -> Callable[[], Any]:
    """Against the recorded source."""

    def work() -> Any:
        with job.controlled() as control:
            (latents,) = denoise_chunk(job, control, [frames])
        return decode_latents(job.denoising.model, latents) if decode else latents

    return work


def recomputed(
    clip: Clip, cached: CachedSource, plan: ControlPlan, frame: int, *, decode: bool = True
) -> Callable[[], Any]:
    """The official way, with fused attention given to it too: the source is denoised again beside the frame, and both
    are decoded, as the official pipeline returns both."""

    def work() -> Any:
        source, latents = walk(clip, plan)
        job = clip.job(cached, plan)
        made = ours(replace(job, source=source), [frame], decode=decode)()
        return (decode_latents(clip.model, latents), made) if decode else made

    return work


def walk(clip: Clip, plan: ControlPlan) -> tuple[RecordedSource, torch.Tensor]:
    """The source denoised once, its keys and values kept in memory, and its latents."""
    guidance = prepare_guidance(clip.model.networks, [clip.pictures[:1]])
    walked = GeneratedSource(clip.denoising, clip.scheduler, clip.noise, guidance).begin()
    layers = layers_from(self_attention_layers(clip.model.unet), plan.layers[0].index)
    source = MemorySource(GUIDED, tuple(layer.name for layer in layers))
    with record_attention(clip.model.unet, layers, source.add, branches=GUIDED):
        for _ in walked.steps:
            pass
    assert walked.final_latents is not None
    return source, walked.final_latents
