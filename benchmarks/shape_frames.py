"""SD-1.5 and SDXL in their real shapes with random weights: our denoising step against diffusers' and the official way.

Latents alone, without the VAE, which is the same for all.
"""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clip import Clip, random_pictures
from frames_by import ours, recomputed
from shapes import FAMILIES, build_controlnet, build_pipeline
from turns import by_turns, cpu_seconds, ratio

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.plan import plan_control
from masactrl_video.model.backbones.unet.controls import GuidanceNetwork
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt
from masactrl_video.render.frames import Beside, FramesJob

PAIRS = [("source", "plain"), ("source", "recomputed"), ("masked", "source")]
"""Ways whose times are held against each other."""


@dataclass(frozen=True)
class Shape:
    """A model in its real shape, its recorded source, and frames to render."""

    clip: Clip
    job: FramesJob
    masked: FramesJob
    """The masks are halves of the picture, the source's left, the frame's right."""

    def ways(self) -> dict[str, Callable[[], Any]]:
        """The first frame's latents, by each way."""
        plain = self.clip.plain("latent")
        return {
            "plain": lambda: plain([0]),
            "source": ours(self.job, [0], decode=False),
            "masked": ours(self.masked, [0], decode=False),
            "recomputed": recomputed(self.clip, self.job.plan, 0, output_type="latent"),
        }


@contextmanager
def shape(
    name: str, size: str, tokenizer: Path, steps: int, frames: int = 1, device: str = "cpu", half: bool = False
) -> Iterator[Shape]:
    """Inside the context, the source is recorded in a temporary folder."""
    width, height = (int(side) for side in size.split("x"))
    dtype = torch.float16 if half else torch.float32
    pipe = build_pipeline(name, tokenizer, dtype).to(device)
    text = encode_prompt(DiffusionModel(pipe), "a bear in the meadow", "", 7.5, (height, width))
    pipe.text_encoder = pipe.text_encoder_2 = None  # done with: SDXL's need 3 GB
    model = DiffusionModel(pipe, (GuidanceNetwork("pose", build_controlnet(name, dtype).to(device)),))
    plan = plan_control(pipe.unet, steps, masa_step=0, masa_layer=FAMILIES[name].masa_layer)
    clip = Clip(model, text, random_pictures(frames, height, width), steps)
    left = np.zeros((height, width, 3), np.uint8)
    left[:, : width // 2] = 255
    factor = model.vae_scale_factor
    masks = MaskRule(source_mask=torch.from_numpy(left[::factor, ::factor, 0] > 0).to(device))
    with tempfile.TemporaryDirectory() as root:
        job = clip.job(clip.record(Path(root), plan), plan)
        targets = [left[:, ::-1].copy()] * frames
        yield Shape(clip, job, replace(job, plan=replace(plan, mode="masked"), masks=masks, beside=Beside(targets)))


def measure_shape(name: str, size: str, tokenizer: Path, steps: int, rounds: int) -> dict[str, Any]:
    """Ratios of a frame's denoising on the CPU."""
    with shape(name, size, tokenizer, steps) as made:
        ways = made.ways()
        times = by_turns(ways, rounds, warm_up=0)
    return {
        "steps": steps,
        "ratios": {f"{way} ÷ {other}": ratio(times, way, other) for way, other in PAIRS},
        "cpu_seconds_a_step": {way: cpu_seconds(times, way) / steps for way in ways},
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,  # Linux counts in KiB
    }
