"""A frame of FLUX.2 klein-kv's layout beside a kept reference ÷ one by diffusers, which is given the picture.

``OMP_NUM_THREADS=1 python benchmarks/references.py``

Random weights, latents alone. diffusers' pipeline encodes the picture, with a tiny autoencoder, and has its tokens in
the first step of each frame; klein's has them in every step.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinKVPipeline,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
)
from PIL import Image
from table import write_table
from turns import by_turns, ratio

from masactrl_video.model.backbones.flux2.prompts import Flux2Text
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.sampling.denoise import Denoising, FrameBatch

NETWORK: dict[str, Any] = {
    "in_channels": 64,
    "num_layers": 2,
    "num_single_layers": 6,
    "num_attention_heads": 4,
    "attention_head_dim": 32,
    "joint_attention_dim": 128,
    "axes_dims_rope": (8, 8, 8, 8),
    "guidance_embeds": False,
}
"""As many double blocks to single ones as klein 9B has."""
TEXT_TOKENS = 64


@dataclass(frozen=True)
class Layout:
    """Pipelines that share a network, a reference picture, and what is kept of it."""

    kv: Any
    klein: Any
    picture: Image.Image
    model: DiffusionModel
    """With the kept reference."""
    kept_bytes: int

    def by_diffusers(self, pipe: Any, pictures: list[Image.Image], text: torch.Tensor, noise: torch.Tensor, steps: int):
        """Packed latents of a frame by a pipeline's own call."""
        height, width = (side * 8 for side in noise.shape[-2:])
        last: list[torch.Tensor] = []
        own = {} if pipe is self.kv else {"guidance_scale": 1.0}
        pipe(
            prompt_embeds=text, latents=pipe._patchify_latents(noise), height=height, width=width,
            image=pictures or None, num_inference_steps=steps, output_type="latent", **own,
            callback_on_step_end=lambda _, step, t, tensors: last.append(tensors["latents"]) or {},
        )  # fmt: skip
        return last[-1]

    def by_us(self, text: torch.Tensor, noise: torch.Tensor, steps: int) -> torch.Tensor:
        """The same beside the kept reference."""
        size = tuple(side * 8 for side in noise.shape[-2:])
        schedule = self.model.backbone.schedule(self.model, "flow", steps, (size[0], size[1]))
        batch = FrameBatch.from_noise(noise, None, schedule)
        denoising = Denoising(self.model, Flux2Text(text, torch.ones(1)), 1.0, 0)
        for step in range(steps):
            denoising.step(batch, step)
        return self.kv._pack_latents(self.kv._patchify_latents(batch.latents))


def layout(side_px: int) -> Layout:
    """A network, and the reference of a square picture."""
    torch.manual_seed(0)
    network = Flux2Transformer2DModel(**NETWORK).eval()
    vae = AutoencoderKLFlux2(
        block_out_channels=(8, 8, 8, 8), latent_channels=NETWORK["in_channels"] // 4, norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=1,
    ).eval()  # fmt: skip
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    parts = {"scheduler": scheduler, "vae": vae, "transformer": network, "text_encoder": None, "tokenizer": None}
    klein, kv = Flux2KleinPipeline(**parts), Flux2KleinKVPipeline(**parts)
    for pipe in (klein, kv):
        pipe.set_progress_bar_config(disable=True)
    pixels = np.random.default_rng(0).integers(0, 255, (side_px, side_px, 3), dtype=np.uint8)
    model = DiffusionModel(kv)
    reference = model.backbone.record_reference(model, pixels)
    joined = model.backbone.join_references(model, [reference])
    return Layout(kv, klein, Image.fromarray(pixels), replace(model, references=joined), reference.nbytes)


def measure(side_px: int, reference_px: int, steps: int, rounds: int) -> dict[str, str]:
    """A row of the table."""
    made, side = layout(reference_px), side_px // 8
    difference = 0.0
    for prompt in range(2):  # of other prompts, from other noise, wide too
        generator = torch.Generator().manual_seed(prompt)
        text = torch.randn(1, TEXT_TOKENS, NETWORK["joint_attention_dim"], generator=generator)
        noise = torch.randn(1, NETWORK["in_channels"] // 4, side, side + 2 * prompt, generator=generator)
        with torch.no_grad():
            ours, theirs = (
                made.by_us(text, noise, steps),
                made.by_diffusers(made.kv, [made.picture], text, noise, steps),
            )
        difference = max(difference, float((ours - theirs).abs().max()))
    ways: dict[str, Callable[[], Any]] = {
        "kept": lambda: made.by_us(text, noise, steps),
        "kv": lambda: made.by_diffusers(made.kv, [made.picture], text, noise, steps),
        "klein": lambda: made.by_diffusers(made.klein, [made.picture], text, noise, steps),
        "without": lambda: made.by_diffusers(made.kv, [], text, noise, steps),
    }
    times = by_turns(ways, rounds)
    found = {way: ratio(times, "kept", way) for way in ("kv", "klein", "without")}
    return {
        "frame, px": str(side_px),
        "reference, px": str(reference_px),
        "steps": str(steps),
        "reference, MB": f"{made.kept_bytes / 1e6:.1f}",
        "÷ klein-kv given the picture": f"{found['kv']['cpu']:.2f}",
        "lowest – highest": f"{found['kv']['cpu_low']:.2f} – {found['kv']['cpu_high']:.2f}",
        "÷ klein given the picture": f"{found['klein']['cpu']:.2f}",
        "÷ without a reference": f"{found['without']['cpu']:.2f}",
        "largest difference of latents": f"{difference:.0e}",
    }


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=256, help="of the frames in px")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"), help="table to write")
    arguments = parser.parse_args()
    rows = [measure(arguments.side, arguments.side, steps, arguments.rounds) for steps in arguments.steps]
    rows.append(measure(arguments.side, arguments.side // 2, 4, arguments.rounds))
    write_table(
        arguments.output,
        "FLUX.2 klein-kv's layout, random weights, float32, CPU: a frame beside a kept reference",
        rows,
    )


if __name__ == "__main__":
    main()
