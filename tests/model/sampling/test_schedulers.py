"""Every scheduler that can be named: it runs, visits each timestep once, and draws the same noise for every frame."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import tiny_models
import torch
from diffusers import DDIMScheduler, PNDMScheduler

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.unet.controls import PreparedGuidance
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt
from masactrl_video.model.sampling.denoise import Denoising, FrameBatch
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import SchedulerName, make_scheduler, scheduler_step, timesteps_of

NAMES: tuple[SchedulerName, ...] = tuple(name for name in get_args(SchedulerName) if name != "flow")
STOCHASTIC = {"ddpm", "euler-a", "lcm"}
SIZE = (64, 64)


@pytest.fixture(scope="module")
def model() -> DiffusionModel:
    return DiffusionModel(tiny_models.sd1_pipeline())


def denoise(model: DiffusionModel, name: SchedulerName, frames: int, seed: int = 1) -> torch.Tensor:
    scheduler = make_scheduler(model, name, 3)
    denoising = Denoising(model, encode_prompt(model, "a bear", "", 7.5, SIZE), 4.0, seed)
    noise = initial_noise(model, SIZE, 7).repeat(frames, 1, 1, 1)
    batch = FrameBatch.from_noise(noise, PreparedGuidance(), scheduler)
    for step in range(3):
        denoising.step(batch, step)
    return batch.latents


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_frames_stay_alike(model: DiffusionModel, name: SchedulerName) -> None:
    latents = denoise(model, name, frames=3)
    assert latents.isfinite().all()
    assert (latents - latents[:1]).abs().max() < 1e-4
    assert (denoise(model, name, frames=1) - latents[:1]).abs().max() < 1e-4, "a frame depends on its batch"


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_matters_for_the_stochastic_ones_alone(model: DiffusionModel, name: SchedulerName) -> None:
    difference = (denoise(model, name, 1, seed=1) - denoise(model, name, 1, seed=2)).abs().max()
    assert (difference > 1e-3) == (name in STOCHASTIC)
    assert torch.equal(denoise(model, name, 1, seed=1), denoise(model, name, 1, seed=1))


@pytest.mark.parametrize("name", sorted(STOCHASTIC))
def test_each_step_draws_other_noise(model: DiffusionModel, name: Any) -> None:
    scheduler = make_scheduler(model, name, 5)
    drawn = []
    for step in (0, 1):  # the same place, so that only the drawn noise differs
        scheduler = make_scheduler(model, name, 5)
        latents = torch.ones(2, 4, 8, 8)
        out = scheduler_step(scheduler, torch.zeros_like(latents), scheduler.timesteps[0], latents, 1, step)
        assert torch.equal(out[0], out[1])
        drawn.append(out)
    assert (drawn[0] - drawn[1]).abs().max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [1, 4, 20])
def test_it_visits_each_timestep_once(model: DiffusionModel, name: SchedulerName, steps: int) -> None:
    timesteps = timesteps_of(make_scheduler(model, name, steps))
    assert len(set(timesteps)) == steps
    assert timesteps == sorted(timesteps, reverse=True)


def test_ddim_is_set_up_as_in_the_paper() -> None:
    pipe = tiny_models.sd1_pipeline()
    pipe.scheduler = PNDMScheduler.from_config(pipe.scheduler.config, clip_sample=True, set_alpha_to_one=True)
    scheduler = make_scheduler(DiffusionModel(pipe), "ddim", 50)
    config = scheduler.config
    assert isinstance(scheduler, DDIMScheduler)
    assert (config.clip_sample, config.set_alpha_to_one) == (False, False)
    assert (config.beta_start, config.beta_end, config.beta_schedule) == (0.00085, 0.012, "scaled_linear")
    assert timesteps_of(scheduler)[:2] == [981.0, 961.0]


def test_the_models_prediction_type_is_kept() -> None:
    pipe = tiny_models.sd1_pipeline()
    pipe.scheduler = tiny_models.scheduler(prediction_type="v_prediction")
    for name in NAMES:
        assert make_scheduler(DiffusionModel(pipe), name, 4).config.prediction_type == "v_prediction"


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_a_number_of_steps_that_does_not_exist_is_refused(model: DiffusionModel, steps: int) -> None:
    with pytest.raises(UserError, match="1000 noise levels, give 1 to 1000"):
        make_scheduler(model, "ddim", steps)


@pytest.mark.parametrize("name", ["dpm++", "deis", "unipc"])
def test_a_timestep_that_comes_twice_is_refused(model: DiffusionModel, name: SchedulerName) -> None:
    with pytest.raises(UserError, match="visits a timestep twice"):
        make_scheduler(model, name, 1000)
