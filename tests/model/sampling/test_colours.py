"""Predicted clean latents, their moments, and frames that are aligned to their source's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from masactrl_video.model.sampling.clean import clean_shares, predicted_clean, with_clean
from masactrl_video.model.sampling.colours import aligned, moments, moments_by_region
from masactrl_video.model.sampling.diffusion import diffusion_schedule

SHAPE = (2, 4, 8, 8)


def tensors() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    latents, output = (torch.randn(SHAPE, generator=generator) for _ in range(2))
    return latents, output


def own_prediction(scheduler: Any, output: torch.Tensor, latents: torch.Tensor, step: int) -> torch.Tensor:
    """What the scheduler itself takes for the clean latents."""
    if hasattr(scheduler, "convert_model_output"):
        scheduler._init_step_index(scheduler.timesteps[step])
        found: torch.Tensor = scheduler.convert_model_output(output, sample=latents)
        return found
    if hasattr(scheduler, "sigmas"):
        scheduler.scale_model_input(latents, scheduler.timesteps[step])
    return torch.as_tensor(scheduler.step(output, scheduler.timesteps[step], latents).pred_original_sample)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("name", ["ddim", "ddpm", "dpm++", "unipc", "euler", "euler-a"])
@pytest.mark.parametrize("step", [0, 3])
def test_the_clean_latents_are_those_that_the_scheduler_takes(name: Any, prediction: str, step: int) -> None:
    if (name, prediction) == ("euler-a", "sample"):
        pytest.skip("euler-a does not know it")
    config = dict(DDIMScheduler(prediction_type=prediction).config)
    scheduler: Any = diffusion_schedule(config, torch.device("cpu"), name, 5)
    latents, output = tensors()
    found = predicted_clean(scheduler, output, latents, step)
    torch.testing.assert_close(found, own_prediction(scheduler, output, latents, step), rtol=1e-4, atol=1e-4)


def test_a_flow_foretells_the_end_of_its_line() -> None:
    scheduler: Any = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(5)
    clean, noise = tensors()
    sigma = scheduler.sigmas[2]
    found = predicted_clean(scheduler, noise - clean, (1 - sigma) * clean + sigma * noise, 2)
    torch.testing.assert_close(found, clean)


def test_a_schedule_may_have_a_rule_of_its_own() -> None:
    own: Any = SimpleNamespace(clean_shares=lambda step: (0.5, float(step)))
    assert clean_shares(own, 3) == (0.5, 3.0)


def test_an_output_is_changed_so_that_it_foretells_the_clean_latents_wanted() -> None:
    scheduler: Any = diffusion_schedule(dict(DDIMScheduler().config), torch.device("cpu"), "ddim", 5)
    latents, output = tensors()
    change = torch.full(SHAPE, 0.25)
    found = predicted_clean(scheduler, with_clean(scheduler, output, change, 2), latents, 2)
    torch.testing.assert_close(found, predicted_clean(scheduler, output, latents, 2) + change)
    assert torch.equal(with_clean(scheduler, output, torch.zeros(SHAPE), 2), output)


def test_a_frame_gets_the_moments_of_its_source_in_each_region() -> None:
    clean, source = tensors()
    figure = torch.zeros(2, 8, 8, dtype=torch.bool)
    figure[0, :4], figure[1, :, :3] = True, True
    wanted = moments_by_region(3 * source + 1, figure.flip(0))
    moved = clean + aligned(clean, wanted, figure, 1.0)
    torch.testing.assert_close(moments(moved, figure), wanted[:, 1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(moments(moved, ~figure), wanted[:, 2], rtol=1e-4, atol=1e-4)
    whole = clean + aligned(clean, wanted, None, 1.0)
    torch.testing.assert_close(moments(whole), wanted[:, 0], rtol=1e-4, atol=1e-4)


def test_half_the_strength_is_half_the_change_and_each_frame_is_aligned_by_itself() -> None:
    clean, source = tensors()
    wanted = moments_by_region(source + 1, None)
    whole = aligned(clean, wanted, None, 1.0)
    torch.testing.assert_close(aligned(clean, wanted, None, 0.5), whole / 2)
    assert torch.equal(aligned(clean[1:], wanted[1:], None, 1.0), whole[1:])


def test_a_region_that_one_side_has_not_is_left_as_it_is() -> None:
    clean, source = tensors()
    nowhere = torch.zeros(2, 8, 8, dtype=torch.bool)
    some = nowhere.clone()
    some[:, :4] = True
    change = aligned(clean, moments_by_region(source, nowhere), some, 1.0)
    assert not change[:, :, :4].any() and change[:, :, 4:].all()
    change = aligned(clean, moments_by_region(source, some), nowhere, 1.0)
    assert change.isfinite().all() and change.any()
