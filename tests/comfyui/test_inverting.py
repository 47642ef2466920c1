"""Invert Picture: the model is asked at every noise level, on the way from the picture to noise."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from masactrl_video.comfyui.inverting import PictureInversion
from masactrl_video.errors import UserError

SIGMAS = torch.cat([torch.linspace(4, 0.05, 60), torch.zeros(1)])
PICTURE = torch.randn(1, 4, 6, 4, generator=torch.Generator().manual_seed(1))
NONE = torch.zeros_like(PICTURE)


class Denoiser:
    """The exact one of pictures whose values are standard normal."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, torch.Tensor]] = []

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, seed: int) -> torch.Tensor:
        assert sigma.shape == (len(x),)
        self.asked.append((float(sigma[0]), x))
        return x / (1 + sigma[:, None, None, None] ** 2)


def inverted(model: Denoiser, sigmas: torch.Tensor = SIGMAS, **changes: Any) -> torch.Tensor:
    given = {"noise": NONE, "latent_image": PICTURE} | changes
    return PictureInversion().sample(model, sigmas, {"seed": 0}, None, **given)


def test_it_asks_once_at_each_level_and_gives_the_picture_back() -> None:
    model = Denoiser()
    assert torch.equal(inverted(model), PICTURE)
    assert [sigma for sigma, _ in model.asked] == pytest.approx([1e-4, *SIGMAS.flip(0)[1:].tolist()])
    assert torch.equal(model.asked[0][1], PICTURE)


def test_denoising_what_it_found_gives_the_picture() -> None:
    model = Denoiser()
    inverted(model)
    x = model.asked[-1][1]
    for sigma, following in pairwise(SIGMAS):
        x = x + (x - model(x, sigma[None], 0)) / sigma * (following - sigma)
    assert (x - PICTURE).abs().max() < 0.1 * PICTURE.abs().max()
    assert (model.asked[59][1] - model.asked[0][1]).abs().max() > 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"latent_image": None}, "latent_image: it is empty"),
        ({"latent_image": NONE}, "latent_image: it is empty"),
        ({"noise": PICTURE}, "add_noise: a picture is inverted as it is"),
        ({"denoise_mask": NONE}, "latent_image: it has a mask"),
        ({"sigmas": SIGMAS[:30]}, "sigmas: they end at 2"),
    ],
)
def test_what_is_no_picture_alone_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        inverted(Denoiser(), **changes)
