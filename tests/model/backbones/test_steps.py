"""Which step a call belongs to: by the clock of our own loop, or by the timestep of a foreign one."""

from __future__ import annotations

import pytest
import tiny_models
import torch

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.registry import backbone_of
from masactrl_video.model.backbones.steps import DenoiserCall, StepClock, StepFinder, index_of_timestep

TIMESTEPS = [988.42, 741.0, 494.0, 2.0]
BFLOAT16 = float(torch.finfo(torch.bfloat16).eps) / 2


def call(timestep: float) -> DenoiserCall:
    return DenoiserCall(timestep, 2, (8, 8))


def test_a_running_clock_says_the_step_whatever_the_timestep_is() -> None:
    clock = StepClock()
    finder = StepFinder(TIMESTEPS, clock)
    with clock.at(2):
        assert finder.step_of(call(0.98828)) == 2
    assert clock.step is None
    assert finder.step_of(call(494.0)) == 2
    with pytest.raises(UserError, match=r"timestep 0\.98828 is not among"):
        finder.step_of(call(0.98828))


def test_a_step_that_the_source_does_not_have_is_refused() -> None:
    clock = StepClock()
    with clock.at(4), pytest.raises(UserError, match="step 4 is not among the source's 4 steps"):
        StepFinder(TIMESTEPS, clock).step_of(call(2.0))


def test_the_clock_stops_after_an_exception_too() -> None:
    clock = StepClock()
    with pytest.raises(KeyboardInterrupt), clock.at(1):
        raise KeyboardInterrupt
    assert clock.step is None


def test_a_rounded_timestep_belongs_to_the_nearest_step() -> None:
    for index, timestep in enumerate(TIMESTEPS):
        rounded = float(torch.tensor(timestep, dtype=torch.bfloat16))
        assert index_of_timestep(TIMESTEPS, rounded, BFLOAT16) == index
    with pytest.raises(UserError, match="not among"):
        index_of_timestep(TIMESTEPS, 988.0)  # in single precision 988 is another timestep
    with pytest.raises(UserError, match="not among"):
        index_of_timestep(TIMESTEPS, 751.0, BFLOAT16)  # rounding does not explain that much
    with pytest.raises(UserError, match="among the source's 2 steps"):
        index_of_timestep([999.0, 998.0], 998.5, BFLOAT16)


def test_a_call_in_half_precision_says_how_coarse_its_timestep_is() -> None:
    unet = tiny_models.sd1_unet()
    seen: list[DenoiserCall] = []
    text, latents = torch.zeros(1, 5, tiny_models.TEXT_WIDTH), torch.zeros(1, 4, 8, 8)
    with backbone_of(unet).calls(unet, seen.append), torch.no_grad():
        for timestep in (torch.tensor(501), torch.tensor(501.0, dtype=torch.bfloat16)):
            unet(latents, timestep, text)
    rounded = float(torch.tensor(501.0, dtype=torch.bfloat16))
    assert [(one.timestep, one.rounding) for one in seen] == [(501.0, 0.0), (rounded, BFLOAT16)]
