"""How many frames fit through the model together: measured on one step of one frame and of two."""

from __future__ import annotations

import logging

import torch

from masactrl_video.attention.neighbour import neighbours_of
from masactrl_video.errors import counted
from masactrl_video.model.memory import is_out_of_memory
from masactrl_video.render.frames import FramesJob

logger = logging.getLogger(__name__)

ON_CPU = 4
"""Without a GPU: more frames at a time are no faster there."""

_SHARE = 0.8
"""Of the free memory, for batches: fragments and the chunk's guidance need the rest."""


def largest_batch(job: FramesJob, most: int) -> int:
    """The largest batch that fits into the GPU's free memory, at most `most` frames; on a CPU `ON_CPU`.

    One controlled step of the first frames is done and thrown away. Should a batch be too large after all, it is halved
    while rendering (see `memory`).
    """
    device = job.denoising.model.device
    if device.type != "cuda" or most == 1:
        return min(most, ON_CPU)
    try:
        try_batch(job, 1)  # libraries' own workspaces, and weights that are offloaded, are there from now on
        one_bytes, two_bytes = (_peak_bytes(job, frames, device) for frames in (1, 2))
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return 1
    unused_bytes = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    found = fitting(one_bytes, two_bytes, torch.cuda.mem_get_info(device)[0] + unused_bytes, most)
    each_gb = (two_bytes - one_bytes) / 1e9
    size = counted(found, "frame")
    logger.info("batch_size: %s; one needs %.2f GB, each further %.2f GB", size, one_bytes / 1e9, each_gb)
    return found


def fitting(one_bytes: int, two_bytes: int, free_bytes: int, most: int) -> int:
    """Frames that fit where one needs `one_bytes` and two need `two_bytes`: 1 to `most`."""
    each_bytes = max(1, two_bytes - one_bytes)
    return max(1, min(most, 1 + int(free_bytes * _SHARE - one_bytes) // each_bytes))


def try_batch(job: FramesJob, frames: int) -> None:
    """One denoising step of the first frames, for its memory alone: controlled, and by the whole UNet."""
    whole = [step for step in job.plan.acting_steps if step % job.denoising.whole_every == 0]
    step = whole[0] if whole else 0
    batch = job.batch(range(frames))
    with job.controlled() as control:
        control.figures.target_mask, control.weights = job.given_masks(range(frames)), job.weights_of(range(frames))
        control.limbs.frames = job.skeletons_of(range(frames))
        control.has_neighbour, control.keeps_last = neighbours_of([range(frames)])[0], True
        control.prepare(step, [control.weights])
        control.use_branches(job.branches_at(step))
        job.denoising.step(batch, step)


def _peak_bytes(job: FramesJob, frames: int, device: torch.device) -> int:
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    try_batch(job, frames)
    return torch.cuda.max_memory_allocated(device) - before
