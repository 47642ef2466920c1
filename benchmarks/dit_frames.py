"""demo-dit: frames against those of diffusers' own ControlNet pipeline, by turns: python benchmarks/dit_frames.py"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxControlNetPipeline
from drawn_clip import SIZE_PX, DrawnClip
from PIL import Image
from table import write_table
from turns import by_turns, ratio

from masactrl_video.demo.clip import HERO, clip_frames
from masactrl_video.render.frames import FramesJob, denoise_chunk

TEXT_TOKENS = 32
"""As the model was trained."""
MODES: dict[str, dict[str, Any]] = {
    "source": {},
    "union": {"attention_mode": "union"},
    "masked": {"attention_mode": "masked", "mask_words": [HERO.species]},
    "source, all layers": {"masa_layer": 0},
}


def ours(job: FramesJob, frames: int, batch: int) -> Callable[[], Any]:
    """Latents of frames in batches, the source read anew."""
    numbers = range(frames)

    def work() -> Sequence[torch.Tensor]:
        with job.controlled() as control:
            return denoise_chunk(job, control, [numbers[first : first + batch] for first in range(0, frames, batch)])

    return work


def plain(clip: DrawnClip, job: FramesJob, frames: int, batch: int) -> Callable[[], Any]:
    """The same frames by diffusers."""
    pipe = FluxControlNetPipeline(**clip.model.pipe.components, controlnet=clip.model.networks[0].module)
    pipe.set_progress_bar_config(disable=True)
    prompts: dict[str, torch.Tensor] = {}
    for name, prompt in (("", clip.base["prompt"]), ("negative_", "")):
        embeds, pooled, _ = pipe.encode_prompt(
            prompt, prompt, num_images_per_prompt=batch, max_sequence_length=TEXT_TOKENS
        )
        prompts |= {f"{name}prompt_embeds": embeds, f"{name}pooled_prompt_embeds": pooled}

    def work() -> list[Any]:
        return [
            pipe(
                true_cfg_scale=clip.base["guidance_scale"],
                control_image=[Image.fromarray(job.guidance[0][frame]) for frame in range(first, first + batch)],
                height=SIZE_PX,
                width=SIZE_PX,
                num_inference_steps=clip.base["num_inference_steps"],
                output_type="latent",
                **prompts,
            ).images
            for first in range(0, frames, batch)
        ]

    return work


def measure(steps: int, frames: int, rounds: int) -> list[dict[str, str]]:
    """Rows of the table."""
    exact = list(clip_frames(HERO, "waving", frames, SIZE_PX))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        clip = DrawnClip(exact, Path(folder) / "clip", steps, None, preset="demo-dit")
        for mode, changes in MODES.items():
            clip.render(mode, **changes)
        for batch in (1, 4):
            ways = {mode: ours(clip.jobs[mode], frames, batch) for mode in MODES}
            times = by_turns({"plain": plain(clip, clip.jobs["source"], frames, batch)} | ways, rounds)
            for mode in MODES:
                found = ratio(times, mode, "plain")
                rows.append(
                    {"mode": mode, "frames of a batch": str(batch), "a frame ÷ plain": f"{found['cpu']:.2f}"}
                    | {"lowest – highest": f"{found['cpu_low']:.2f} – {found['cpu_high']:.2f}"}
                    | {"on the clock": f"{found['clock']:.2f}"}
                )
    return rows


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--frames", type=int, default=8, help="of a chunk")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"), help="table to write")
    asked = parser.parse_args()
    title = f"demo-dit with its ControlNet, {asked.steps} steps, CPU: a frame ÷ one by diffusers' pipeline"
    write_table(asked.output, title, measure(asked.steps, asked.frames, asked.rounds))


if __name__ == "__main__":
    main()
