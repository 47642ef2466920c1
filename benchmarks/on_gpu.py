"""The same shapes on a GPU, in half precision: seconds a frame, frames a second against batch size, peak memory."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from clip import timed
from frames_by import ours
from shape_frames import PAIRS, Shape, shape
from turns import by_turns, ratio

from masactrl_video.model.memory import is_out_of_memory
from masactrl_video.model.sampling.latents import decode_latents


def measure_on_gpu(
    name: str,
    size: str,
    tokenizer: Path,
    steps: int,
    rounds: int,
    batch_sizes: Sequence[int] = (1, 2, 4, 8, 16),
    device: str = "cuda",
) -> dict[str, Any]:
    """All denoising steps of a frame, without the VAE; decoding a frame; and batches until memory is used up.

    Args:
        device: `cuda`; tests take the CPU, where there is no peak to be read.
    """
    half = device == "cuda"
    with shape(name, size, tokenizer, steps, max(batch_sizes), device, half) as made:
        times = by_turns(made.ways(), rounds)
        decoding = [
            timed(lambda: decode_latents(made.clip.model, times["source"][-1].result)) for _ in range(rounds + 1)
        ]
        return {
            "device": torch.cuda.get_device_name() if half else "CPU",
            "steps": steps,
            "ratios": {f"{way} ÷ {other}": ratio(times, way, other) for way, other in PAIRS},
            "seconds_a_frame": {way: statistics.median(t.seconds for t in taken) for way, taken in times.items()},
            "decoding_seconds": statistics.median(taken.seconds for taken in decoding[1:]),
            "peak_bytes": {way: _peak(work) for way, work in made.ways().items()} if half else {},
            "batches": list(_batches(made, batch_sizes)),
        }


def _batches(made: Shape, sizes: Sequence[int]) -> Iterator[dict[str, float]]:
    """Frames a second by us and by diffusers, each batch warmed up once."""
    plain = made.clip.plain("latent")
    for size in sizes:
        frames = list(range(size))
        ways: dict[str, Callable[[], Any]] = {
            "source": ours(made.job, frames, decode=False),
            "plain": lambda frames=frames: plain(frames),
        }
        try:
            times = by_turns(ways, 1)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return
        yield {"frames": size} | {way: size / taken[0].seconds for way, taken in times.items()}


def _peak(work: Callable[[], Any]) -> int:
    torch.cuda.reset_peak_memory_stats()
    work()
    return torch.cuda.max_memory_allocated()
