"""What the denoiser is given in training leads to the right picture, also from a wrong beginning."""

import numpy as np
import pytest
import torch

from masactrl_video.demo.architecture import build_scheduler
from masactrl_video.demo.training.data import other_frame, training_frame
from masactrl_video.demo.training.noising import LEAST_NOISE, noised
from masactrl_video.demo.training.pairs import Sight

ROWS = 64
SHAPE = (ROWS, 2, 3, 3)


@pytest.mark.parametrize("sight", [None, "both", "first"])
def test_the_velocity_leads_to_the_right_picture(sight: Sight | None) -> None:
    scheduler, timesteps = build_scheduler(), torch.linspace(20, 999, ROWS).long()
    latents, others = torch.randn(SHAPE), torch.randn(SHAPE)
    noisy, velocity = noised(scheduler, latents, others, timesteps, sight)
    kept = scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    torch.testing.assert_close(kept.sqrt() * noisy - (1 - kept).sqrt() * velocity, latents, atol=1e-4, rtol=0)


def test_only_second_pictures_that_see_the_first_begin_as_somebody_else_and_only_in_noise() -> None:
    scheduler, timesteps = build_scheduler(), torch.linspace(0, 999, ROWS // 2).long().repeat(2)
    latents, others = torch.zeros(SHAPE), torch.full(SHAPE, 1000.0)
    begun = {}
    for sight in (None, "both", "first"):
        noisy, _ = noised(scheduler, latents, others, timesteps, sight)
        begun[sight] = noisy.mean(dim=(1, 2, 3)) > 10
    assert not begun[None].any()
    assert not begun["both"].any()
    first, second = begun["first"].chunk(2)
    assert not first.any()
    late = (1 - scheduler.alphas_cumprod[timesteps[: ROWS // 2]]).sqrt() < LEAST_NOISE
    assert not second[late].any()
    assert 0 < second[~late].sum() < (~late).sum()


@pytest.mark.parametrize("index", range(5))
def test_the_other_one_has_the_same_pose_and_caption(index: int) -> None:
    frame, other = (made(index, 0, 64, "small") for made in (training_frame, other_frame))
    assert np.array_equal(frame.keypoints, other.keypoints)
    assert frame.caption == other.caption
    assert frame.identity != other.identity
    assert not np.array_equal(frame.image, other.image)
