"""What is particular to Wan: one frame of a video, UniPC along a flow, two calls, norms across heads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_families
import tiny_flux
import torch
from diffusers import UniPCMultistepScheduler, WanTransformer3DModel

from masactrl_video.attention.record import record_source
from masactrl_video.attention.use import use_source
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer, TextCall
from masactrl_video.model.backbones.branches import GUIDED
from masactrl_video.model.backbones.registry import backbone_of
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.load import load_pipeline
from masactrl_video.model.prompts import encode_prompt, find_words
from masactrl_video.model.sampling.denoise import Denoising
from masactrl_video.model.sampling.invert import check_invertible
from masactrl_video.model.sampling.schedulers import make_scheduler

CPU: Any = {"dtype": "float32", "device": "cpu"}
CALL: dict[str, Any] = {"num_frames": 1, "max_sequence_length": tiny_flux.TOKENS, "output_type": "latent"}


@pytest.fixture
def pipe() -> Any:
    return tiny_families.pipeline("wan")


def noise(height: int = 8, width: int = 8, channels: int = 4) -> torch.Tensor:
    return torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(0))


def denoised(pipe: Any, scheduler: Any, start: torch.Tensor, size: tuple[int, int], steps: int) -> torch.Tensor:
    model = DiffusionModel(pipe)
    schedule = make_scheduler(model, scheduler, steps, size)
    text, latents = encode_prompt(model, "a bear", "blue", 3.0, size), start
    step = Denoising(model, text, 3.0, seed=0)
    for number, timestep in enumerate(schedule.timesteps):
        latents = step(schedule, latents, number, timestep)
    return latents


def test_real_guidance_is_recorded_and_used_in_a_users_pipeline(pipe: Any) -> None:
    def picture(prompt: str, seed: int) -> torch.Tensor:
        latents: torch.Tensor = pipe(
            prompt, height=64, width=64, num_inference_steps=2, guidance_scale=3.0, negative_prompt="blue",
            generator=torch.Generator().manual_seed(seed), **CALL,
        ).frames  # fmt: skip
        return latents

    plain, other = picture("a bear in the meadow", 0), picture("a frog", 1)
    with record_source(pipe.transformer, masa_layer=0) as source:
        assert torch.equal(picture("a bear in the meadow", 0), plain)
    assert all(len(keys) == 2 for keys in source.read(1).keys.values())
    with use_source(pipe.transformer, source, masa_step=0, masa_layer=0) as control:
        assert (picture("a bear in the meadow", 0) - plain).abs().max() < 1e-5
        assert (picture("a frog", 1) - other).abs().max() > 1e-3
    assert control.fired.total() == 2 * 2 * 3 or control.fired.total() == 2 * 2 * 2 * 3
