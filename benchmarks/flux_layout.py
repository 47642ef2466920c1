"""A frame by transformers' layouts with random weights ÷ one by diffusers: cached, live by a chunk's frames, and still.

``OMP_NUM_THREADS=1 python benchmarks/flux_layout.py``

Latents alone: there are neither autoencoder nor text encoders. Every frame is a batch of its own, on both sides.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from table import write_table
from turns import by_turns, ratio

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.plan import plan_control
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.model.backbones.branches import UNGUIDED
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.backbones.flux.prompts import FluxText
from masactrl_video.model.backbones.joint.packing import PATCH, pack
from masactrl_video.model.backbones.joint.ragged import RaggedText
from masactrl_video.model.backbones.sd3.backbone import SD3Text
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.sampling.denoise import Denoising
from masactrl_video.model.sampling.flow import flow_schedule
from masactrl_video.render.frames import Beside, FramesJob, denoise_chunk, fed
from masactrl_video.render.grounds import StillGround
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
WIDE: dict[str, Any] = NETWORK | {
    "num_layers": 1,
    "num_single_layers": 2,
    "num_attention_heads": 24,
    "attention_head_dim": 128,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "axes_dims_rope": (16, 56, 56),
}
"""Some of FLUX.1's own blocks, as wide as they are: 3 of 57."""
REAL = "FLUX.1, real width"
FLUX = {"FLUX.1": NETWORK, REAL: WIDE}
TEXT_TOKENS, SCALE = 64, 3.5
_COMMON: dict[str, Any] = {"num_attention_heads": 6, "attention_head_dim": 64, "joint_attention_dim": 256}
SD3: dict[str, Any] = _COMMON | {
    "sample_size": 64,
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 16,
    "num_layers": 8,
    "caption_projection_dim": 384,
    "pooled_projection_dim": 64,
    "pos_embed_max_size": 64,
    "qk_norm": "rms_norm",
}
"""As 3.5 large: text and picture apart in all blocks, but in the last the text's."""
QWEN: dict[str, Any] = _COMMON | {
    "in_channels": 64,
    "out_channels": 16,
    "num_layers": 8,
    "axes_dims_rope": (16, 24, 24),
}
LATENT_CHANNELS = 16
FAMILIES = ("FLUX.1", "SD3", "Qwen-Image", REAL)


@dataclass(frozen=True)
class Layout:
    """The network, a source recorded both ways, and frames to render against it."""

    family: str
    pipe: Any
    text: TextCondition
    noise: torch.Tensor
    """(1, channels, height, width)."""
    steps: int
    cached: FramesJob
    live: FramesJob
    masked: FramesJob | None = None
    """Against figures of source and frame."""
    still: FramesJob | None = None
    """The same before a still ground."""

    def plain(self) -> torch.Tensor:
        """Latents of a frame by diffusers' own pipeline, packed as that has them."""
        height, width = (side * 8 for side in self.noise.shape[-2:])
        arguments: dict[str, Any] = {"prompt_embeds": self.text.hidden_states, "latents": pack(self.noise)}
        if self.family == "Qwen-Image":
            arguments |= {"prompt_embeds_mask": torch.ones(1, TEXT_TOKENS, dtype=torch.long), "true_cfg_scale": 1.0}
        else:
            arguments["pooled_prompt_embeds"] = self.text.pooled  # type: ignore[attr-defined]
        if self.family == "SD3":
            arguments |= {"latents": self.noise, "guidance_scale": 1.0}
        elif self.family in FLUX:
            arguments["guidance_scale"] = SCALE
        out: torch.Tensor = self.pipe(
            height=height, width=width, num_inference_steps=self.steps, output_type="latent", **arguments
        ).images
        return out

    def frames(self, source: str, count: int) -> Callable[[], Sequence[torch.Tensor]]:
        """Latents of a chunk of so many frames, one by one."""
        job: FramesJob = getattr(self, source)

        def work() -> Sequence[torch.Tensor]:
            with fed(job, 1) as open_job, open_job.controlled() as control:
                return denoise_chunk(open_job, control, [[frame] for frame in range(count)])

        return work


def _pipeline(family: str) -> Any:
    """A pipeline of random weights, without autoencoder and text encoders."""
    dynamic = family != "SD3"
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=dynamic)
    if family in FLUX:
        empty = dict.fromkeys(("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))
        return FluxPipeline(transformer=FluxTransformer2DModel(**FLUX[family]).eval(), scheduler=scheduler, **empty)
    if family == "Qwen-Image":
        empty = dict.fromkeys(("vae", "text_encoder", "tokenizer"))
        network = QwenImageTransformer2DModel(**QWEN).eval()
        return QwenImagePipeline(transformer=network, scheduler=scheduler, **empty)
    parts = ("vae", *(f"{part}{n}" for part in ("text_encoder", "tokenizer") for n in ("", "_2", "_3")))
    sd3 = SD3Transformer2DModel(**SD3).eval()
    return StableDiffusion3Pipeline(transformer=sd3, scheduler=scheduler, **dict.fromkeys(parts))


def _text(family: str) -> TextCondition:
    """A random prompt."""
    sizes = FLUX.get(family, NETWORK)
    hidden = torch.randn(1, TEXT_TOKENS, sizes["joint_attention_dim"])
    pooled = torch.randn(1, sizes["pooled_projection_dim"])
    if family in FLUX:
        return FluxText(hidden, pooled, torch.full([1], SCALE))
    return SD3Text(hidden, pooled) if family == "SD3" else RaggedText.of([hidden[0]])


@contextmanager
def layout(
    side_px: int, steps: int, masa_layers: Sequence[str] | None, family: str = "FLUX.1", figure: float = 0.0
) -> Iterator[Layout]:
    """Inside the context, the sources are in a temporary folder.

    Args:
        masa_layers: all where none are named; every step is controlled.
        family: one of `FAMILIES`.
        figure: above 0, frames with a figure that is so high and so wide, as a part of the picture's side, too.
    """
    torch.manual_seed(0)
    pipe = _pipeline(family)
    pipe.set_progress_bar_config(disable=True)
    model, latent_side = DiffusionModel(pipe), side_px // 8
    text, other = _text(family), _text(family)
    noise = torch.randn(1, LATENT_CHANNELS, latent_side, latent_side)
    tokens = (latent_side // PATCH) ** 2
    schedule = flow_schedule(pipe.scheduler.config, torch.device("cpu"), "flow", steps, tokens, even=family != "SD3")
    plan = plan_control(pipe.transformer, steps, masa_step=0, masa_layer=0, masa_layers=masa_layers)
    scale = SCALE if family in FLUX else 1.0
    source = GeneratedSource(Denoising(model, other, scale, 0), schedule, noise, None)
    with tempfile.TemporaryDirectory() as folder:

        def job(live: bool) -> FramesJob:
            recorded: CachedSource = cached_source(Path(folder), model, source, UNGUIDED, plan, live=live)
            return FramesJob(Denoising(model, text, scale, 0), schedule, recorded, noise, plan, [])

        made = Layout(family, pipe, text, noise, steps, job(live=False), job(live=True))
        if figure:
            whole = replace(plan, layers=model.backbone.layers(model.denoiser))
            recorded = cached_source(Path(folder), model, source, UNGUIDED, whole, levels=True)
            made = _with_figure(made, recorded, figure)
        yield made


def _with_figure(made: Layout, recorded: CachedSource, figure: float) -> Layout:
    """The same with frames whose figure, a square, stands where the source's does."""
    side = made.noise.shape[-1]
    own, first = torch.zeros(side, side, dtype=torch.bool), round(side * (1 - figure) / 2)
    own[first : side - first, first : side - first] = True
    picture = np.repeat(np.repeat(own.numpy()[..., None], 8, 0), 8, 1).repeat(3, 2).astype(np.uint8) * 255
    masks, plan = MaskRule(source_mask=own), replace(made.cached.plan, mode="masked")
    masked = replace(made.cached, plan=plan, masks=masks, beside=Beside([picture] * 64))
    assert recorded.levels is not None
    ground = StillGround(recorded.levels[None], skips=True)
    still = replace(masked, source=recorded, background="still", still_ground=ground)
    return replace(made, masked=masked, still=still)


def covered(job: FramesJob) -> float:
    """Part of the tokens that a frame computes before a still ground."""
    counts: list[int] = []
    network: Any = job.denoising.model.denoiser
    hook = network.proj_out.register_forward_pre_hook(lambda _, args: counts.append(args[0].shape[1]))
    with job.controlled() as control:
        denoise_chunk(job, control, [[0]])
    hook.remove()
    return counts[-1] / counts[0]


def measure(
    side_px: int, steps: int, rounds: int, chunks: Sequence[int], family: str = "FLUX.1"
) -> list[dict[str, str]]:
    """Rows of the table: a frame ÷ a plain one."""
    rows = []
    chosen: list[tuple[str, list[str] | None]] = [("all", None)]
    if family == "FLUX.1":
        chosen.append(("2 of 9, as 13 of 57", ["1", "5"]))
    for named, layers in chosen:
        with layout(side_px, steps, layers, family) as made:
            ways: dict[str, Callable[[], Any]] = {"plain": made.plain}
            if family == "FLUX.1" and layers is None:
                ways |= {f"live, {count}": made.frames("live", count) for count in chunks}
            ways[f"cached, {max(chunks)}"] = made.frames("cached", max(chunks))
            times = by_turns(ways, rounds)
            for way in list(ways)[1:]:
                source, count = way.split(", ")
                rows.append(
                    {"network": family, "picture": f"{side_px}×{side_px}", "layers": named, "source": source}
                    | {"frames of a chunk": count}
                    | _figures(ratio(times, way, "plain", int(count)), "a frame ÷ plain")
                )
    return rows


def _figures(found: dict[str, float], title: str) -> dict[str, str]:
    return {
        title: f"{found['cpu']:.2f}",
        "lowest – highest": f"{found['cpu_low']:.2f} – {found['cpu_high']:.2f}",
        "on the clock": f"{found['clock']:.2f}",
    }


def measure_still(side_px: int, steps: int, rounds: int, family: str = "FLUX.1") -> list[dict[str, str]]:
    """Rows of the table of the still ground: a frame with it ÷ one without, masked both, by the figure's size."""
    rows = []
    for figure in (0.3, 0.5) if family == "FLUX.1" else (0.3,):
        with layout(side_px, steps, ["1", "5"], family, figure) as made:
            assert made.still is not None
            part, frames = covered(made.still), 2
            ways = {"plain": made.plain} | {way: made.frames(way, frames) for way in ("masked", "still")}
            times = by_turns(ways, rounds)
            rows.append(
                {"network": family, "picture": f"{side_px}×{side_px}", "steps": str(steps)}
                | {"figure, % of the picture": f"{100 * figure**2:.0f}", "tokens computed, %": f"{100 * part:.0f}"}
                | _figures(ratio(times, "still", "masked"), "still ÷ off")
                | {"still ÷ plain": f"{ratio(times, 'still', 'plain', frames)['cpu']:.2f}"}
            )
    return rows


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[256], help="of the pictures in px")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES[:3]), help="layouts")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--still-steps", type=int, default=8, help="the first of which computes whole frames")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunks", type=int, nargs="+", default=[1, 4, 8], help="frames of a chunk")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"), help="table to write")
    arguments = parser.parse_args()
    steps, rounds = arguments.steps, arguments.rounds
    asked = [(side, family) for side in arguments.sides for family in arguments.families]
    rows = [row for side, family in asked for row in measure(side, steps, rounds, arguments.chunks, family)]
    still = []
    for side, family in asked:
        if family != REAL:  # has no layers of the numbers that are controlled there
            still += measure_still(side, arguments.still_steps, rounds, family)
    title = f"Layouts of transformers, random weights, {steps} steps, CPU"
    write_table(arguments.output, title, rows, {"Before a still ground": still} if still else {})


if __name__ == "__main__":
    main()
