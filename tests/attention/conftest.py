"""Tiny pipelines and the calls that tests make of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tiny_models
import torch

STEPS = 4


@pytest.fixture(params=["sd1", "sdxl"])
def pipe(request: pytest.FixtureRequest) -> Any:
    return tiny_models.sd1_pipeline() if request.param == "sd1" else tiny_models.sdxl_pipeline()


@pytest.fixture
def sd1() -> Any:
    return tiny_models.sd1_pipeline()


@pytest.fixture
def draw() -> Callable[..., torch.Tensor]:
    """A plain call of a diffusers pipeline that returns latents."""

    def call(pipe: Any, prompt: str, *, steps: int = STEPS, **changes: Any) -> torch.Tensor:
        noise = torch.randn((1, 4, 8, 12), generator=torch.Generator().manual_seed(0))
        arguments: dict[str, Any] = {"guidance_scale": 4.0, "latents": noise, "height": 64, "width": 96}
        latents: torch.Tensor = pipe(
            prompt, num_inference_steps=steps, output_type="latent", **arguments | changes
        ).images
        return latents

    return call
