"""Inversion along a flow: of order 2, replayed, and refined until Euler's steps lead back."""

from __future__ import annotations

import pytest
import tiny_flux
import torch

from masactrl_video.model.backbones.conditioning import TextCondition
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_inverted, encode_prompt
from masactrl_video.model.sampling.invert import invert
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler
from masactrl_video.sources.source import RealSource, relative_error

SIZE = (48, 64)


@pytest.fixture(scope="module")
def model() -> DiffusionModel:
    return DiffusionModel(tiny_flux.pipeline(guidance=True))


def null_prompt(model: DiffusionModel) -> TextCondition:
    return encode_inverted(model, "", "", 3.5, SIZE)


def picture_latents(model: DiffusionModel) -> torch.Tensor:
    return 0.6 * initial_noise(model, SIZE, 7)


def noise_of(model: DiffusionModel, steps: int) -> torch.Tensor:
    schedule = make_scheduler(model, "flow", steps, SIZE)
    return invert(model, picture_latents(model), null_prompt(model), schedule).latents[0]


def test_half_the_step_is_a_quarter_of_the_error() -> None:
    model = DiffusionModel(tiny_flux.pipeline(guidance=True))
    with torch.no_grad():  # random weights see each timestep as another one, which no step is short enough for
        model.denoiser.get_submodule("time_text_embed.timestep_embedder.linear_1").weight.zero_()
    exact = noise_of(model, 64)
    errors = [relative_error(noise_of(model, steps), exact) for steps in (4, 8)]
    assert errors[0] / errors[1] > 3
    assert errors[1] < 0.01


def test_the_trajectory_has_the_noise_levels_of_the_denoising() -> None:
    model = DiffusionModel(tiny_flux.pipeline())
    with torch.no_grad():  # a network that sees the same velocity everywhere: every level is known
        model.denoiser.get_submodule("proj_out").weight.zero_()
        model.denoiser.get_submodule("proj_out").bias.fill_(0.5)
    schedule, latents = make_scheduler(model, "flow", 5, SIZE), picture_latents(model)
    levels = invert(model, latents, null_prompt(model), schedule, iterations=1).latents
    assert len(levels) == 6
    assert torch.equal(levels[-1], latents)
    for sigma, level in zip(schedule.sigmas, levels, strict=True):
        assert (level - (latents + 0.5 * sigma)).abs().max() < 1e-5


@pytest.mark.parametrize(("iterations", "replayed", "most"), [(0, True, 0.03), (0, False, 0.3), (12, False, 2e-4)])
def test_the_picture_comes_again(model: DiffusionModel, iterations: int, replayed: bool, most: float) -> None:
    """Replayed but for the last step's error; denoised freely when Euler's own steps were inverted."""
    latents, schedule = picture_latents(model), make_scheduler(model, "flow", 10, SIZE)
    source = RealSource(model, schedule, latents, null_prompt(model), iterations=iterations, replayed=replayed)
    walk = source.begin()
    assert list(walk.steps) == list(range(10))
    assert walk.final_latents is not None
    assert relative_error(walk.final_latents, latents) < most
    assert (walk.initial_noise - latents).abs().max() > 0.1


def test_it_is_without_guidance_whatever_that_of_the_frames_is(model: DiffusionModel) -> None:
    """A network that reads its guidance gets 1; real guidance keeps its two branches for the recorded pass."""
    distilled, base = null_prompt(model), DiffusionModel(tiny_flux.pipeline())
    assert torch.equal(distilled.tensors()["guidance"], torch.ones(1))  # type: ignore[arg-type]
    frames = encode_prompt(model, "", "", 3.5, SIZE)
    assert torch.equal(frames.tensors()["guidance"], torch.full([1], 3.5))  # type: ignore[arg-type]
    assert encode_inverted(base, "a bear", "blue", 3.5, SIZE).branches == 2
