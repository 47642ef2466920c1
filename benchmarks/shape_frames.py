"""SD-1.5 and SDXL in their real shapes with random weights: our denoising step against diffusers' and the official way.

Latents alone, without the VAE, which is the same for all.
"""

from __future__ import annotations

import resource
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clip import Clip, random_pictures
from frames_by import ours, recomputed
from shapes import FAMILIES, build_controlnet, build_pipeline
from turns import by_turns, cpu_seconds, ratio

from masactrl_video.attention.control import MaskRule
from masactrl_video.attention.plan import plan_control
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.guidance_network import GuidanceNetwork
from masactrl_video.model.text import encode_prompt


def measure_shape(name: str, size: str, tokenizer: Path, steps: int, rounds: int) -> dict[str, Any]:
    """Ratios of a frame's denoising; the masks are halves of the picture, the source's left, the frame's right."""
    width, height = (int(side) for side in size.split("x"))
    pipe = build_pipeline(name, tokenizer, torch.float32)
    text = encode_prompt(DiffusionModel(pipe), "a bear in the meadow", "", True, (height, width))
    pipe.text_encoder = pipe.text_encoder_2 = None  # done with: SDXL's need 3 GB
    model = DiffusionModel(pipe, (GuidanceNetwork("pose", build_controlnet(name, torch.float32)),))
    plan = plan_control(pipe.unet, steps, masa_step=0, masa_layer=FAMILIES[name].masa_layer)
    clip = Clip(model, text, random_pictures(1, height, width), steps)
    left = np.zeros((height, width, 3), np.uint8)
    left[:, : width // 2] = 255
    factor = model.vae_scale_factor
    with tempfile.TemporaryDirectory() as root:
        source = clip.record(Path(root), plan)
        job = clip.job(source, plan)
        masks = MaskRule(source_mask=torch.from_numpy(left[::factor, ::factor, 0] > 0))
        masked = replace(job, plan=replace(plan, mode="masked"), masks=masks, target_masks=[left[:, ::-1].copy()])
        plain = clip.plain("latent")
        ways = {
            "plain": lambda: plain([0]),
            "source": ours(job, [0], decode=False),
            "masked": ours(masked, [0], decode=False),
            "recomputed": recomputed(clip, plan, 0, output_type="latent"),
        }
        times = by_turns(ways, rounds, warm_up=0)
    pairs = [("source", "plain"), ("source", "recomputed"), ("masked", "source")]
    return {
        "steps": steps,
        "ratios": {f"{way} ÷ {other}": ratio(times, way, other) for way, other in pairs},
        "cpu_seconds_a_step": {way: cpu_seconds(times, way) / steps for way in ways},
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,  # Linux counts in KiB
    }
