"""How near a picture comes to itself when it is inverted and denoised again, without the replay: the demo model.

``python benchmarks/inversion.py``

The error is in the latents, against those of the picture, so the autoencoder has no part in it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from table import write_table

from masactrl_video.demo.clip import HERO, clip_frames
from masactrl_video.demo.folder import WEIGHTS
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt
from masactrl_video.model.sampling.latents import encode_picture
from masactrl_video.model.sampling.schedulers import make_scheduler
from masactrl_video.sources.source import RealSource


def round_trip_error(
    model: DiffusionModel, latents: torch.Tensor, steps: int, iterations: int, replayed: bool
) -> float:
    """Root mean square of (reconstructed latents - latents), relative to that of the latents."""
    size = (latents.shape[-2] * model.vae_scale_factor, latents.shape[-1] * model.vae_scale_factor)
    source = RealSource(
        model,
        make_scheduler(model, "ddim", steps),
        latents,
        encode_prompt(model, "", "", 1.0, size),
        iterations=iterations,
        replayed=replayed,
    )
    walk = source.begin()
    for _ in walk.steps:
        pass
    assert walk.final_latents is not None
    return float((walk.final_latents - latents).square().mean().sqrt() / latents.square().mean().sqrt())


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder (default: the demo model)")
    parser.add_argument("--steps", type=int, nargs="+", default=[20, 50])
    parser.add_argument("--iterations", type=int, nargs="+", default=[0, 1, 3])
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"), help="table to write")
    arguments = parser.parse_args()
    model = DiffusionModel(StableDiffusionPipeline.from_pretrained(arguments.weights, torch_dtype=torch.float32))
    side = model.unet.config.sample_size * model.vae_scale_factor
    (frame,) = clip_frames(HERO, "waving", 1, side)
    latents = encode_picture(model, frame.image)
    rows = []
    for steps in arguments.steps:
        for replayed, iterations in [(False, count) for count in arguments.iterations] + [(True, 0)]:
            error = round_trip_error(model, latents, steps, iterations, replayed)
            way = "replayed" if replayed else "denoised again"
            rows.append({"steps": str(steps), "iterations": str(iterations), "source": way, "error": f"{error:.4f}"})
    write_table(arguments.output, f"Round trip of an inverted picture: demo model, {side}×{side}, float32", rows)


if __name__ == "__main__":
    main()
