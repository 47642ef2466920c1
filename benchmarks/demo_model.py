"""The demo model with its ControlNet, at the size and with the layers of its preset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from clip import Clip
from diffusers import ControlNetModel, StableDiffusionPipeline

from masactrl_video.attention.plan import plan_control
from masactrl_video.controls.extractors import canny_edges
from masactrl_video.demo.clip import HERO, clip_frames
from masactrl_video.model.backbones.unet.controls import GuidanceNetwork
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt

PROMPT, WORDS = "a bear in a red shirt and blue pants waving in the meadow", ["bear"]
MASA_STEP, MASA_LAYER = 2, 8
GUIDANCE_SCALE = 1.5
"""The demo preset's."""


def load_clip(weights: Path, frames: int, num_inference_steps: int) -> Clip:
    """The demo model, loaded by diffusers, and edges of its own clip at its own size."""
    pipe = StableDiffusionPipeline.from_pretrained(weights, torch_dtype=torch.float32)
    controlnet = ControlNetModel.from_pretrained(weights / "controlnet-canny", torch_dtype=torch.float32)
    model = DiffusionModel(pipe, (GuidanceNetwork("canny", controlnet),))
    side = pipe.unet.config.sample_size * model.vae_scale_factor
    edges = [canny_edges(frame.image, 100, 200) for frame in clip_frames(HERO, "waving", frames, side)]
    text = encode_prompt(model, PROMPT, "", 7.5, (side, side))
    return Clip(model, text, np.stack(edges), num_inference_steps, guidance_scale=GUIDANCE_SCALE)


def plan_for(clip: Clip, mode: str, masa_step: int = MASA_STEP) -> Any:
    """What the demo preset controls."""
    return plan_control(
        clip.model.unet,
        clip.num_inference_steps,
        masa_step=masa_step,
        masa_layer=MASA_LAYER,
        mode=mode,
        mask_grid_divisor=4 if mode == "masked" else None,
    )
