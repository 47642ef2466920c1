"""A long clip against a short one: time a frame and peak memory, with a narrow model that leaves the rest visible."""

from __future__ import annotations

import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from clip import Clip
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from shapes import with_random_weights

from masactrl_video.attention.plan import plan_control
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.guidance_network import GuidanceNetwork
from masactrl_video.model.text import TextCondition
from masactrl_video.render.chunks import render_frames

SIDE_PX, STEPS, CHUNK = 64, 3, 32


class EndlessPictures:
    """Guidance of any length that is made when it is asked for."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        picture = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
        picture[index % SIDE_PX] = 255
        return picture


def narrow_clip() -> Clip:
    """A UNet of four self-attention layers, a VAE of factor 4, a ControlNet; random weights, and no text encoder."""
    unet: dict[str, Any] = {"block_out_channels": (32, 32), "layers_per_block": 1, "cross_attention_dim": 16}
    unet |= {"attention_head_dim": 2, "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D")}
    vae: dict[str, Any] = {"block_out_channels": (32,) * 3, "latent_channels": 4, "layers_per_block": 1}
    vae |= {"down_block_types": ("DownEncoderBlock2D",) * 3, "up_block_types": ("UpDecoderBlock2D",) * 3}
    blocks = {"sample_size": SIDE_PX // 4, "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}
    pipe = SimpleNamespace(
        unet=with_random_weights(lambda: UNet2DConditionModel(**unet, **blocks), torch.float32),
        vae=with_random_weights(lambda: AutoencoderKL(**vae), torch.float32),
        scheduler=DDIMScheduler(steps_offset=1),
    )
    embedding = {"conditioning_embedding_out_channels": (16, 32, 32)}
    controlnet = with_random_weights(lambda: ControlNetModel(**unet, **embedding), torch.float32)
    model = DiffusionModel(pipe, (GuidanceNetwork("rows", controlnet),))
    text = TextCondition(torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0)))
    return Clip(model, text, np.zeros((1, SIDE_PX, SIDE_PX, 3), np.uint8), STEPS)


def measure_length(frames: int) -> dict[str, Any]:
    """Render so many frames in a process that does nothing else; the first chunk warms up and is not timed."""
    clip = narrow_clip()
    plan = plan_control(clip.model.unet, STEPS, masa_step=1, masa_layer=1)
    work: dict[str, Any] = {"batch_size": 8, "chunk_frames": CHUNK, "text": {}}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        job = replace(clip.job(clip.record(root / "cache", plan), plan), guidance=[EndlessPictures(frames)])
        paths = [root / f"{number}.png" for number in range(frames)]
        render_frames(job, paths[:CHUNK], **work)
        start, cpu = time.perf_counter(), time.process_time()
        render_frames(job, paths, **work)
        timed_frames = frames - CHUNK
        return {
            "frames": frames,
            "seconds_a_frame": (time.perf_counter() - start) / timed_frames,
            "cpu_seconds_a_frame": (time.process_time() - cpu) / timed_frames,
            "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,  # Linux counts in KiB
        }
