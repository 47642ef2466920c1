"""DDIM inversion leads through the right noise levels, and its replay back to the picture."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import tiny_models
import torch
from diffusers import DPMSolverMultistepScheduler, PNDMScheduler

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt
from masactrl_video.model.sampling.invert import invert
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler
from masactrl_video.sources.source import RealSource

SIZE = (32, 48)


def tiny_model(**scheduler: Any) -> DiffusionModel:
    pipe = tiny_models.sd1_pipeline()
    pipe.scheduler = tiny_models.scheduler(**scheduler)
    return DiffusionModel(pipe)


def null_prompt(model: DiffusionModel) -> TextCondition:
    return encode_prompt(model, "", "", 1.0, SIZE)


def picture_latents(model: DiffusionModel) -> torch.Tensor:
    return 0.6 * initial_noise(model, SIZE, 7)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("steps", [10, 50])
def test_replaying_the_trajectory_reconstructs_the_picture(prediction: str, steps: int) -> None:
    model = tiny_model(prediction_type=prediction)
    latents = picture_latents(model)
    walk = RealSource(model, make_scheduler(model, "ddim", steps), latents, null_prompt(model)).begin()
    assert list(walk.steps) == list(range(steps))
    assert walk.final_latents is not None
    assert (walk.final_latents - latents).abs().max() < 1e-3
    assert walk.trajectory is not None
    assert torch.equal(walk.initial_noise, walk.trajectory.latents[0])
    assert (walk.initial_noise - latents).abs().max() > 0.1


@pytest.mark.parametrize("steps", [1, 10])
def test_the_trajectory_has_the_noise_levels_of_the_denoising(steps: int) -> None:
    model = tiny_model()
    with torch.no_grad():  # a network that sees the same noise everywhere, so that every level is known in closed form
        model.unet.conv_out.weight.zero_()
        model.unet.conv_out.bias.copy_(torch.tensor([0.5, -1.0, 2.0, 0.1]))
    noise = model.unet.conv_out.bias.detach().reshape(1, 4, 1, 1)
    scheduler = make_scheduler(model, "ddim", steps)
    latents = picture_latents(model)
    trajectory = invert(model, latents, null_prompt(model), scheduler).latents
    alphas = scheduler.alphas_cumprod
    clean = (latents - (1 - alphas[0]).sqrt() * noise) / alphas[0].sqrt()  # the picture is at the lowest noise level
    assert len(trajectory) == steps + 1
    assert torch.equal(trajectory[-1], latents)
    for timestep, level in zip(scheduler.timesteps, trajectory[:-1], strict=True):
        expected = alphas[timestep].sqrt() * clean + (1 - alphas[timestep]).sqrt() * noise
        assert (level - expected).abs().max() < 1e-4


@pytest.mark.parametrize(
    "own", [PNDMScheduler(skip_prk_steps=True, steps_offset=1), DPMSolverMultistepScheduler(solver_order=2)], ids=type
)
def test_what_else_a_models_own_scheduler_says_is_no_cause_for_a_warning(
    own: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in Stable Diffusion 1.5 and PixArt; diffusers would print it anew for each picture."""
    model = tiny_model()
    model.pipe.scheduler = own  # type: ignore[attr-defined]
    scheduler = make_scheduler(model, "ddim", 2)
    monkeypatch.setattr(logging.getLogger("diffusers"), "propagate", True)
    caplog.clear()
    invert(model, picture_latents(model), null_prompt(model), scheduler)
    assert not caplog.records


def test_denoising_freely_would_not_come_back_as_well_as_the_replay() -> None:
    model = tiny_model()
    latents = picture_latents(model)
    scheduler = make_scheduler(model, "ddim", 5)
    walk = RealSource(model, scheduler, latents, null_prompt(model)).begin()
    list(walk.steps)
    free = walk.initial_noise
    with torch.no_grad():
        for timestep in scheduler.timesteps:
            noise = model.unet(free, timestep, **null_prompt(model).for_frames(1)).sample
            free = scheduler.step(noise, timestep, free).prev_sample
    assert walk.final_latents is not None
    assert (walk.final_latents - latents).abs().max() < (free - latents).abs().max()


def test_a_trajectory_that_is_there_already_is_not_made_again() -> None:
    model = tiny_model()
    scheduler, text = make_scheduler(model, "ddim", 4), null_prompt(model)
    trajectory = invert(model, picture_latents(model), text, scheduler)
    calls: list[int] = []
    model.unet.register_forward_hook(lambda *_: calls.append(1))
    walk = RealSource(model, scheduler, picture_latents(model), text, trajectory).begin()
    assert walk.trajectory is trajectory
    assert calls == []


@pytest.mark.parametrize("name", ["euler", "dpm++", "ddpm"])
def test_another_scheduler_is_refused(name: Any) -> None:
    model = tiny_model()
    with pytest.raises(UserError, match=r"inverted with DDIM, got .*Scheduler; take scheduler ddim"):
        invert(model, picture_latents(model), null_prompt(model), make_scheduler(model, name, 4))


def test_trailing_spacing_comes_back_as_near_as_its_last_step_is_short() -> None:
    model = tiny_model(timestep_spacing="trailing")
    latents, errors = picture_latents(model), []
    for steps in (4, 40):
        walk = RealSource(model, make_scheduler(model, "ddim", steps), latents, null_prompt(model)).begin()
        list(walk.steps)
        assert walk.final_latents is not None
        errors.append(float((walk.final_latents - latents).abs().max()))
    assert errors[1] < 0.05 < errors[0]


def test_a_spacing_that_cannot_be_inverted_is_refused() -> None:
    model = tiny_model(timestep_spacing="linspace")
    with pytest.raises(UserError, match="'linspace' with 10 steps cannot be inverted"):
        invert(model, picture_latents(model), null_prompt(model), make_scheduler(model, "ddim", 10))


def round_trip_error(model: DiffusionModel, iterations: int, steps: int = 10) -> float:
    """Distance of the picture from what denoising freely, without the replay, makes of its inversion."""
    latents, scheduler = picture_latents(model), make_scheduler(model, "ddim", steps)
    source = RealSource(model, scheduler, latents, null_prompt(model), iterations=iterations, replayed=False)
    walk = source.begin()
    list(walk.steps)
    assert walk.final_latents is not None
    return float((walk.final_latents - latents).pow(2).mean().sqrt())


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_each_refinement_of_the_inversion_brings_denoising_nearer_to_the_picture(prediction: str) -> None:
    model = tiny_model(prediction_type=prediction)
    errors = [round_trip_error(model, iterations) for iterations in (0, 1, 3)]
    print(f"root mean square error of the latents after 0, 1 and 3 iterations ({prediction}):", errors)
    assert errors[1] < 0.7 * errors[0]
    assert errors[2] < errors[1] / 2


def test_a_source_that_is_not_replayed_is_what_free_denoising_makes() -> None:
    model = tiny_model()
    latents, scheduler, text = picture_latents(model), make_scheduler(model, "ddim", 5), null_prompt(model)
    walk = RealSource(model, scheduler, latents, text, replayed=False).begin()
    assert list(walk.steps) == list(range(5))
    free = walk.initial_noise
    with torch.no_grad():
        for timestep in scheduler.timesteps:
            noise = model.unet(free, timestep, **text.for_frames(1)).sample
            free = scheduler.step(noise, timestep, free).prev_sample
    assert walk.final_latents is not None
    assert (walk.final_latents - free).abs().max() < 1e-5
