"""A long clip against short ones: time a frame and peak memory, with a narrow model that leaves the rest visible."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clip import Clip, Timed, timed
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from shapes import with_random_weights
from turns import cpu_seconds, ratio
from without_values import StableDiffusionPipeline

from masactrl_video.attention.plan import plan_control
from masactrl_video.model.backbones.unet.controls import GuidanceNetwork
from masactrl_video.model.backbones.unet.prompts import UNetText
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.progress import RenderProgress
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
    pipe = StableDiffusionPipeline(
        unet=with_random_weights(lambda: UNet2DConditionModel(**unet, **blocks), torch.float32),
        vae=with_random_weights(lambda: AutoencoderKL(**vae), torch.float32),
        scheduler=DDIMScheduler(steps_offset=1),
    )
    embedding = {"conditioning_embedding_out_channels": (16, 32, 32)}
    controlnet = with_random_weights(lambda: ControlNetModel(**unet, **embedding), torch.float32)
    model = DiffusionModel(pipe, (GuidanceNetwork("rows", controlnet),))
    text = UNetText(torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0)))
    return Clip(model, text, np.zeros((1, SIDE_PX, SIDE_PX, 3), np.uint8), STEPS)


def measure_length(short: int, long: int, piece: int = 31 * CHUNK) -> dict[str, Any]:
    """Render a long clip; after every piece of it the clock of the long one stands still while a short one is made.

    The first chunks warm up and are not timed.

    Args:
        short, long: frames of the clips.
        piece: frames of the long one between two short ones, whole chunks.
    """
    with tempfile.TemporaryDirectory() as folder:
        shorts = _Renders(Path(folder), "short", short)
        shorts.render()
        peak_bytes = [_peak_bytes()]
        pairs: dict[str, list[Timed[None]]] = {"long": [], "short": []}
        begun = time.perf_counter(), time.process_time()

        def tell(progress: RenderProgress) -> None:
            nonlocal begun
            done = progress.frame + 1 - CHUNK
            if progress.step < STEPS - 1 or done % piece or done < 0:
                return
            now = time.perf_counter(), time.process_time()
            if done:
                seconds, cpu = (end - start for end, start in zip(now, begun, strict=True))
                pairs["long"].append(Timed(None, seconds / piece, cpu / piece))
                made = timed(shorts.render)
                pairs["short"].append(Timed(None, made.seconds / short, made.cpu_seconds / short))
            begun = time.perf_counter(), time.process_time()

        _Renders(Path(folder), "long", long).render(tell)
        peak_bytes.append(_peak_bytes())
    return {
        "frames": [short, long],
        "ratio": ratio(pairs, "long", "short"),
        "cpu_seconds_a_frame": {way: cpu_seconds(pairs, way) for way in pairs},
        "peak_bytes": peak_bytes,
    }


class _Renders:
    """A clip of some length that is rendered again and again, with a model of its own."""

    def __init__(self, root: Path, name: str, frames: int) -> None:
        clip = narrow_clip()
        plan = plan_control(clip.model.unet, STEPS, masa_step=1, masa_layer=1)
        self._job = replace(clip.job(clip.record(root / "cache", plan), plan), guidance=[EndlessPictures(frames)])
        self._root, self._name, self._frames = root, name, frames

    def render(self, tell: Callable[[RenderProgress], None] = lambda progress: None) -> None:
        with tempfile.TemporaryDirectory(dir=self._root, prefix=self._name) as folder:
            paths = [Path(folder) / f"{number}.png" for number in range(self._frames)]
            render_frames(self._job, paths, batch_size=8, chunk_frames=CHUNK, text={}, tell=tell)


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # Linux counts in KiB
