"""Transformers with a ControlNet and nothing controlled: diffusers' own ControlNet pipelines, with both guidances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import diffusers
import numpy as np
import pytest
import tiny_families
import tiny_flux
import torch
from PIL import Image

from masactrl_video.model.backbones.flux.controls import FluxControlNetwork
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt
from masactrl_video.model.sampling.denoise import Denoising, FrameBatch
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler

STEPS, SIZE, REAL = 3, (64, 96), 3.5
PROMPT, NEGATIVE = "a frog on the beach", "blue"


@dataclass(frozen=True)
class Kind:
    """A family, and how diffusers calls it with a ControlNet."""

    pipeline: str
    """Of diffusers."""
    make: Callable[[], Any]
    control: Callable[[Any], Any]
    call: Callable[[bool], Mapping[str, Any]]
    """Whether it is guided → further arguments."""
    packed: bool = False
    unguided: float = 1.0


def flux_control(pipe: Any) -> Any:
    return FluxControlNetwork("pose", tiny_flux.controlnet(pipe.transformer), 0.7)


def real(guided: bool) -> Mapping[str, Any]:
    return {"true_cfg_scale": REAL if guided else 1.0}


def sd3(seed: int) -> Kind:
    return Kind(
        "StableDiffusion3ControlNetPipeline",
        tiny_families.sd3_pipeline,
        lambda pipe: tiny_families.sd3_control(pipe, seed),
        lambda guided: {"guidance_scale": REAL if guided else 1.0, "max_sequence_length": tiny_flux.TOKENS},
    )


KINDS = {
    "FLUX.1": Kind(
        "FluxControlNetPipeline",
        tiny_flux.pipeline,
        flux_control,
        lambda guided: {**real(guided), "max_sequence_length": tiny_flux.TOKENS},
        packed=True,
    ),
    "SD3, InstantX's": sd3(6),
    "SD3.5 large, its own": sd3(5),
    "Qwen-Image": Kind(
        "QwenImageControlNetPipeline",
        tiny_families.qwen_pipeline,
        lambda pipe: tiny_families.qwen_control(pipe, 6),
        real,
        packed=True,
    ),
    "Z-Image": Kind(
        "ZImageControlNetPipeline",
        tiny_families.zimage_pipeline,
        lambda pipe: tiny_families.zimage_control(pipe, 6),
        lambda guided: {"guidance_scale": REAL if guided else 0.0, "max_sequence_length": 64},
        unguided=0.0,
    ),
}


def certain(vae: Any) -> None:
    """Its pictures' latents vary by nothing: diffusers draws them, we take their mean."""
    out = vae.quant_conv if getattr(vae, "quant_conv", None) is not None else vae.encoder.conv_out
    with torch.no_grad():
        half = out.weight.shape[0] // 2
        out.weight[half:], out.bias[half:] = 0, -100


@pytest.mark.parametrize("guided", [False, True], ids=["unguided", "guided"])
@pytest.mark.parametrize("name", KINDS)
def test_a_frame_is_that_of_diffusers_controlnet_pipeline(name: str, guided: bool) -> None:
    kind = KINDS[name]
    pipe = kind.make()
    certain(pipe.vae)
    network = kind.control(pipe)
    model = DiffusionModel(pipe, (network,))
    picture = np.random.default_rng(1).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    noise, scale = initial_noise(model, SIZE, 5), REAL if guided else kind.unguided
    scheduler = make_scheduler(model, "flow", STEPS, SIZE)
    text = encode_prompt(model, PROMPT, NEGATIVE if guided else "", scale, SIZE)
    batch = FrameBatch.from_noise(noise, model.prepare_controls([picture[None]]), scheduler)
    for step in range(STEPS):
        Denoising(model, text, scale, seed=5).step(batch, step)
    plain = getattr(diffusers, kind.pipeline)(**pipe.components, controlnet=network.module)
    plain.set_progress_bar_config(disable=True)

    def latents_of(strength: float) -> torch.Tensor:
        latents: torch.Tensor = plain(
            PROMPT,
            negative_prompt=NEGATIVE if guided else None,
            control_image=Image.fromarray(picture),
            controlnet_conditioning_scale=strength,
            height=SIZE[0],
            width=SIZE[1],
            num_inference_steps=STEPS,
            latents=pipe._pack_latents(noise, *noise.shape) if kind.packed else noise,
            output_type="latent",
            **kind.call(guided),
        ).images
        unpacked = pipe._unpack_latents(latents, *SIZE, 8) if kind.packed else latents
        return unpacked[:, :, 0] if unpacked.ndim == 5 else unpacked

    assert (batch.latents - latents_of(network.scale)).abs().max() < 2e-5
    assert (batch.latents - latents_of(0.0)).abs().max() > 1e-3
