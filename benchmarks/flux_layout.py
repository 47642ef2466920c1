"""A frame by FLUX.1's layout with random weights ÷ one by diffusers: cached, and live by the frames of a chunk.

``OMP_NUM_THREADS=1 python benchmarks/flux_layout.py``

Latents alone: there are neither autoencoder nor text encoders. Every frame is a batch of its own, on both sides.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from table import write_table
from turns import by_turns, ratio

from masactrl_video.attention.plan import plan_control
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.model.backbones.branches import UNGUIDED
from masactrl_video.model.backbones.flux.prompts import FluxText
from masactrl_video.model.backbones.joint.packing import PATCH, pack
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.sampling.denoise import Denoising
from masactrl_video.model.sampling.flow import flow_schedule
from masactrl_video.render.frames import FramesJob, denoise_chunk, fed
from masactrl_video.sources.record import cached_source
from masactrl_video.sources.source import GeneratedSource

NETWORK: dict[str, Any] = {
    "in_channels": 64,
    "num_layers": 3,
    "num_single_layers": 6,
    "num_attention_heads": 6,
    "attention_head_dim": 64,
    "joint_attention_dim": 256,
    "pooled_projection_dim": 64,
    "axes_dims_rope": (16, 24, 24),
    "guidance_embeds": True,
}
"""As many double blocks to single ones as FLUX.1 has."""
TEXT_TOKENS, SCALE = 64, 3.5


@dataclass(frozen=True)
class Layout:
    """The network, a source recorded both ways, and frames to render against it."""

    pipe: Any
    text: FluxText
    noise: torch.Tensor
    """(1, channels, height, width)."""
    steps: int
    cached: FramesJob
    live: FramesJob

    def plain(self) -> torch.Tensor:
        """Packed latents of a frame by diffusers' own pipeline."""
        height, width = (side * 8 for side in self.noise.shape[-2:])
        packed: torch.Tensor = self.pipe(
            prompt_embeds=self.text.hidden_states, pooled_prompt_embeds=self.text.pooled, latents=pack(self.noise),
            height=height, width=width, num_inference_steps=self.steps, guidance_scale=SCALE, output_type="latent",
        ).images  # fmt: skip
        return packed

    def frames(self, source: str, count: int) -> Callable[[], Sequence[torch.Tensor]]:
        """Latents of a chunk of so many frames, one by one."""
        job: FramesJob = getattr(self, source)

        def work() -> Sequence[torch.Tensor]:
            with fed(job, 1) as open_job, open_job.controlled() as control:
                return denoise_chunk(open_job, control, [[frame] for frame in range(count)])

        return work


@contextmanager
def layout(side_px: int, steps: int, masa_layers: Sequence[str] | None) -> Iterator[Layout]:
    """Inside the context, the sources are in a temporary folder.

    Args:
        masa_layers: all where none are named; every step is controlled.
    """
    torch.manual_seed(0)
    network = FluxTransformer2DModel(**NETWORK).eval()
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    empty = dict.fromkeys(("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))
    pipe = FluxPipeline(transformer=network, scheduler=scheduler, **empty)
    pipe.set_progress_bar_config(disable=True)
    model, latent_side = DiffusionModel(pipe), side_px // 8
    text, other = (
        FluxText(torch.randn(1, TEXT_TOKENS, 256), torch.randn(1, 64), torch.full([1], SCALE)) for _ in range(2)
    )
    noise = torch.randn(1, NETWORK["in_channels"] // PATCH**2, latent_side, latent_side)
    tokens = (latent_side // PATCH) ** 2
    schedule = flow_schedule(scheduler.config, torch.device("cpu"), "flow", steps, tokens)
    plan = plan_control(network, steps, masa_step=0, masa_layer=0, masa_layers=masa_layers)
    source = GeneratedSource(Denoising(model, other, SCALE, 0), schedule, noise, None)
    with tempfile.TemporaryDirectory() as folder:

        def job(live: bool) -> FramesJob:
            recorded: CachedSource = cached_source(Path(folder), model, source, UNGUIDED, plan, live=live)
            return FramesJob(Denoising(model, text, SCALE, 0), schedule, recorded, noise, plan, [])

        yield Layout(pipe, text, noise, steps, job(live=False), job(live=True))


def measure(side_px: int, steps: int, rounds: int, chunks: Sequence[int]) -> list[dict[str, str]]:
    """Rows of the table: a frame ÷ a plain one."""
    rows = []
    for named, chosen in (("all", None), ("2 of 9, as 13 of 57", ["1", "5"])):
        with layout(side_px, steps, chosen) as made:
            ways: dict[str, Callable[[], Any]] = {"plain": made.plain}
            ways |= {f"live, {count}": made.frames("live", count) for count in chunks}
            ways[f"cached, {max(chunks)}"] = made.frames("cached", max(chunks))
            times = by_turns(ways, rounds)
            for way in list(ways)[1:]:
                source, count = way.split(", ")
                found = ratio(times, way, "plain", int(count))
                rows.append(
                    {
                        "layers": named,
                        "source": source,
                        "frames of a chunk": count,
                        "a frame ÷ plain": f"{found['cpu']:.2f}",
                        "lowest – highest": f"{found['cpu_low']:.2f} – {found['cpu_high']:.2f}",
                        "on the clock": f"{found['clock']:.2f}",
                    }
                )
    return rows


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=256, help="of the pictures in px")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunks", type=int, nargs="+", default=[1, 4, 8], help="frames of a chunk")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"), help="table to write")
    arguments = parser.parse_args()
    rows = measure(arguments.side, arguments.steps, arguments.rounds, arguments.chunks)
    title = f"FLUX.1's layout, random weights, {arguments.side}×{arguments.side}, {arguments.steps} steps, CPU"
    write_table(arguments.output, title, rows)


if __name__ == "__main__":
    main()
