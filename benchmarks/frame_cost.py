"""What a frame costs more than the same frame by diffusers alone: the demo model with its ControlNet, on the CPU.

``python benchmarks/frame_cost.py``

Source-only, union and masked attention and plain diffusers take turns in one process, after a round to warm up.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from clip import Clip, Timed, timed
from diffusers import ControlNetModel, StableDiffusionPipeline
from table import write_table

from masactrl_video.attention.plan import plan_control
from masactrl_video.cache.source import CachedSource
from masactrl_video.demo.clip import HERO, clip_frames
from masactrl_video.demo.folder import WEIGHTS
from masactrl_video.guidance.canny import canny_edges
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.guidance_network import GuidanceNetwork
from masactrl_video.model.latents import decode_latents
from masactrl_video.model.text import encode_prompt, find_words
from masactrl_video.render.frames import denoise_chunk
from masactrl_video.settings.names import Mode

PROMPT, WORDS = "a bear in a red shirt and blue pants waving in the meadow", ["bear"]
MASA_STEP, MASA_LAYER = 2, 8
PLAIN = "plain diffusers"


def load_clip(weights: Path, frames: int, num_inference_steps: int) -> Clip:
    """The demo model, loaded by diffusers, and edges of its own clip at its own size."""
    pipe = StableDiffusionPipeline.from_pretrained(weights, torch_dtype=torch.float32)
    controlnet = ControlNetModel.from_pretrained(weights / "controlnet-canny", torch_dtype=torch.float32)
    model = DiffusionModel(pipe, (GuidanceNetwork("canny", controlnet),))
    side = pipe.unet.config.sample_size * model.vae_scale_factor
    edges = [canny_edges(frame.image, 100, 200) for frame in clip_frames(HERO, "waving", frames, side)]
    text = encode_prompt(model, PROMPT, "", True, (side, side))
    return Clip(model, text, np.stack(edges), num_inference_steps)


def controlled(clip: Clip, source: CachedSource, mode: Mode, words: tuple[int, ...]) -> Callable[[Sequence[int]], Any]:
    """Our frames: frame numbers → pictures."""
    masked = mode == "masked"
    plan = plan_for(clip, mode)
    job = clip.job(source, plan, words if masked else ())

    def render(frames: Sequence[int]) -> Any:
        with job.controlled() as control:
            (latents,) = denoise_chunk(job, control, [frames])
        return decode_latents(clip.model, latents)

    return render


def plan_for(clip: Clip, mode: Mode, masa_step: int = MASA_STEP) -> Any:
    """What the demo preset controls."""
    return plan_control(
        clip.model.unet,
        clip.num_inference_steps,
        masa_step=masa_step,
        masa_layer=MASA_LAYER,
        mode=mode,
        mask_grid_divisor=4 if mode == "masked" else None,
    )


def measure(clip: Clip, batch_size: int, rounds: int) -> dict[str, list[Timed[Any]]]:
    """Times of a batch, by what renders it; the one that begins changes from round to round."""
    words = find_words(clip.model.pipe.tokenizer, PROMPT, WORDS)
    with tempfile.TemporaryDirectory() as root:
        source = clip.record(Path(root), plan_for(clip, "masked"), words)
        ways = {PLAIN: clip.plain()} | {mode: controlled(clip, source, mode, words) for mode in get_args(Mode)}
        times: dict[str, list[Timed[Any]]] = {way: [] for way in ways}
        for turn in range(rounds + 1):
            order = list(ways)[turn % len(ways) :] + list(ways)[: turn % len(ways)]
            for way in order:
                taken = timed(lambda: ways[way](range(batch_size)))  # noqa: B023, called at once
                if turn:  # the first round warms up
                    times[way].append(taken)
    return times


def as_rows(times: dict[str, list[Timed[Any]]], batch_size: int) -> list[dict[str, str]]:
    """Lines of the table."""
    plain = times[PLAIN]
    rows = []
    for way, taken in times.items():
        ratio = statistics.median(ours.seconds / theirs.seconds for ours, theirs in zip(taken, plain, strict=True))
        cpu = statistics.median(
            ours.cpu_seconds / theirs.cpu_seconds for ours, theirs in zip(taken, plain, strict=True)
        )
        rows.append(
            {
                "frames a batch": str(batch_size),
                "rendered by": way,
                "a frame, s": f"{statistics.median(t.seconds for t in taken) / batch_size:.2f}",
                "÷ plain": f"{ratio:.2f}",
                "in CPU time": f"{cpu:.2f}",
            }
        )
    return rows


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder (default: the demo model)")
    parser.add_argument("--num-inference-steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"), help="table to write")
    arguments = parser.parse_args()
    clip = load_clip(arguments.weights, max(arguments.batch_sizes), arguments.num_inference_steps)
    rows = []
    for batch_size in arguments.batch_sizes:
        rows += as_rows(measure(clip, batch_size, arguments.rounds), batch_size)
    side = clip.pictures.shape[1]
    title = f"Cost of a frame: demo model, {side}×{side}, {arguments.num_inference_steps} steps, float32, CPU"
    write_table(arguments.output, title, rows)


if __name__ == "__main__":
    main()
