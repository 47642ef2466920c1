"""What the decoder learns from: a batch's pictures, noised and denoised again."""

from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from masactrl_video.demo.architecture import build_scheduler
from masactrl_video.demo.training import made
from masactrl_video.demo.training.made import made_latents

ROWS = 32


class Sure:
    """A denoiser that takes every picture for the same one."""

    attn_processors: ClassVar[dict[str, Any]] = {}

    def __init__(self, picture: Tensor) -> None:
        self.picture = picture
        self.timesteps: list[Tensor] = []

    def set_attn_processor(self, processors: dict[str, Any]) -> None:
        assert processors == {}

    def __call__(self, noisy: Tensor, timesteps: Tensor, text: Tensor) -> SimpleNamespace:
        self.timesteps.append(timesteps)
        kept = build_scheduler().alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        return SimpleNamespace(sample=(kept.sqrt() * noisy - self.picture) / (1 - kept).sqrt())


@pytest.fixture
def picture() -> Tensor:
    return torch.randn(8, 4, 4)


def denoised(unet: Any, latents: Tensor) -> Tensor:
    def text_encoder(tokens: Tensor) -> tuple[Tensor]:
        return (tokens,)

    batch: Any = SimpleNamespace(latents=latents, tokens=torch.zeros(len(latents)), condition=None, truth=None)
    return made_latents(unet, text_encoder, build_scheduler(), batch, None)


def test_most_latents_are_what_the_denoiser_makes_and_the_rest_is_exact(picture: Tensor) -> None:
    torch.manual_seed(0)
    latents = torch.randn(ROWS, *picture.shape)
    found = denoised(Sure(picture), latents)
    exact = [torch.equal(one, true) for one, true in zip(found, latents, strict=True)]
    assert 0 < sum(exact) < ROWS / 2
    for one, stayed in zip(found, exact, strict=True):
        assert stayed or torch.allclose(one, picture, atol=1e-3)


def test_both_pictures_of_a_pair_have_the_same_noise_level_below_the_highest(picture: Tensor) -> None:
    unet = Sure(picture)
    denoised(unet, torch.randn(ROWS, *picture.shape))
    first, last = unet.timesteps
    assert torch.equal(*first.chunk(2))
    assert first.max() < made.MOST_NOISE * 1000
    assert (last - first / 2).abs().max() <= 1
    assert len(first.unique()) > 4
