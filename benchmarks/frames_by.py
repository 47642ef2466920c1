"""Ways to make the same frames, each as a function of nothing, for `turns.by_turns`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from clip import Clip
from diffusers.models.attention_processor import Attention

from masactrl_video.attention.plan import ControlPlan
from masactrl_video.model.backbones.qkv import split_heads
from masactrl_video.model.backbones.steps import DenoiserCall, index_of_timestep
from masactrl_video.model.backbones.unet.calls import watch_calls
from masactrl_video.model.backbones.unet.processors import finished, installed
from masactrl_video.model.sampling.latents import decode_latents
from masactrl_video.model.sampling.schedulers import timesteps_of
from masactrl_video.render.frames import FramesJob, denoise_chunk


def ours(job: FramesJob, frames: Sequence[int], *, decode: bool = True) -> Callable[[], Any]:
    """Against the recorded source."""

    def work() -> Any:
        with job.controlled() as control:
            (latents,) = denoise_chunk(job, control, [frames])
        return decode_latents(job.denoising.model, latents) if decode else latents

    return work


def recomputed(clip: Clip, plan: ControlPlan, frame: int, *, output_type: str = "np") -> Callable[[], Any]:
    """The official way, with fused attention given to it too: source and frame in one batch of diffusers' pipeline.

    Both are returned, the frame second, as the official pipeline returns both.
    """
    plain = clip.plain(output_type)

    def work() -> Any:
        with _querying_the_first(clip, plan):
            return plain([0, frame])

    return work


@contextmanager
def _querying_the_first(clip: Clip, plan: ControlPlan) -> Iterator[None]:
    """Inside the context, all pictures of a batch query the first one, at the steps and layers of a plan (Eq. 5)."""
    unet, timesteps, steps = clip.model.unet, timesteps_of(clip.scheduler), [-1]

    def begin(call: DenoiserCall) -> None:
        steps[:] = [index_of_timestep(timesteps, call.timestep)]

    def processor(original: Any) -> Any:
        def attend(attn: Attention, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if steps[0] not in plan.steps:
                return original(attn, hidden_states, *args, **kwargs)
            query, key, value = (
                split_heads(project(hidden_states), attn.heads) for project in (attn.to_q, attn.to_k, attn.to_v)
            )  # -> (rows, heads, tokens, head_dim)
            rows = len(query) // 2  # of a branch
            first = torch.tensor([0] * rows + [rows] * rows, device=query.device)
            out = F.scaled_dot_product_attention(query, key[first], value[first])
            return finished(attn, out.transpose(1, 2).flatten(2), hidden_states)

        return attend

    before = unet.attn_processors
    own = {layer.self_processor: processor(before[layer.self_processor]) for layer in plan.layers}
    with installed(unet, own), watch_calls(unet, begin):
        yield
