"""Walking a source: generated ones as plain diffusers, real ones on one branch or two."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_models
import torch

from masactrl_video.attention.record import record_attention
from masactrl_video.attention.recorded import SHARED, MemorySource
from masactrl_video.model.backbones.branches import GUIDED
from masactrl_video.model.backbones.unet.controls import PreparedGuidance
from masactrl_video.model.backbones.unet.layers import self_attention_layers
from masactrl_video.model.backbones.unet.prompts import UNetText
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt
from masactrl_video.model.sampling.denoise import Denoising
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler
from masactrl_video.sources.source import GeneratedSource, RealSource, unique_branches

SIZE, STEPS = (64, 96), 4


@pytest.mark.parametrize("layout", ["sd1", "sdxl"])
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_a_generated_source_is_the_picture_of_plain_diffusers(layout: str, scale: float) -> None:
    pipe = tiny_models.sd1_pipeline() if layout == "sd1" else tiny_models.sdxl_pipeline()
    model = DiffusionModel(pipe)
    noise = initial_noise(model, SIZE, 5)
    text = encode_prompt(model, "a bear", "blue", scale, SIZE)
    denoising = Denoising(model, text, scale, seed=5)
    source = GeneratedSource(denoising, make_scheduler(model, "ddim", STEPS), noise, PreparedGuidance())
    walk = source.begin()
    assert list(walk.steps) == list(range(STEPS))
    expected = pipe(
        "a bear",
        negative_prompt="blue",
        num_inference_steps=STEPS,
        guidance_scale=scale,
        latents=noise,
        height=SIZE[0],
        width=SIZE[1],
        output_type="latent",
    ).images
    assert walk.final_latents is not None
    assert (walk.final_latents - expected).abs().max() < 1e-5
    assert torch.equal(walk.initial_noise, noise)
    assert walk.trajectory is None


def test_a_source_may_be_walked_again_with_a_multistep_scheduler() -> None:
    model = DiffusionModel(tiny_models.sd1_pipeline())
    text = encode_prompt(model, "a bear", "", 7.5, SIZE)
    source = GeneratedSource(
        Denoising(model, text, 4.0, seed=5),
        make_scheduler(model, "dpm++", STEPS),
        initial_noise(model, SIZE, 5),
        PreparedGuidance(),
    )
    first, second = source.begin(), source.begin()
    list(first.steps)
    list(second.steps)
    assert first.final_latents is not None
    assert second.final_latents is not None
    assert torch.equal(first.final_latents, second.final_latents)


def record(model: DiffusionModel, source: RealSource, branches: Any) -> MemorySource:
    layers = self_attention_layers(model.unet)
    kept = MemorySource(branches, [layer.name for layer in layers])
    walk = source.begin()  # the inversion is not recorded
    with record_attention(model.unet, layers, kept.add, branches=branches):
        list(walk.steps)
    return kept


def test_one_shared_branch_holds_what_both_branches_of_the_null_prompt_hold() -> None:
    model = DiffusionModel(tiny_models.sd1_pipeline())
    both = encode_prompt(model, "", "", 7.5, SIZE)
    one, names = unique_branches(both, GUIDED, SHARED)
    assert (one.branches, names) == (1, (SHARED,))
    scheduler, latents = make_scheduler(model, "ddim", STEPS), 0.5 * initial_noise(model, SIZE, 7)
    shared = record(model, RealSource(model, scheduler, latents, one), names)
    guided = record(model, RealSource(model, scheduler, latents, both), GUIDED)
    assert shared.timesteps == guided.timesteps
    for step in guided.steps:
        ours, expected = shared.read(step), guided.read(step)
        for name in guided.layers:
            for found, wanted in ((ours.keys, expected.keys), (ours.values, expected.values)):
                assert found[name].shape[0] == 1
                assert (found[name] - wanted[name]).abs().max() < 1e-5


@pytest.mark.parametrize(("prompt", "negative"), [("a bear", ""), ("", "blue")])
def test_branches_that_differ_stay_two(prompt: str, negative: str) -> None:
    model = DiffusionModel(tiny_models.sd1_pipeline())
    text = encode_prompt(model, prompt, negative, 7.5, SIZE)
    kept, names = unique_branches(text, GUIDED, SHARED)
    assert kept is text
    assert names == GUIDED


def test_branches_that_differ_in_sdxls_pooled_text_alone_stay_two() -> None:
    hidden = torch.zeros(2, 3, 4)
    text = UNetText(hidden, torch.tensor([[0.0], [1.0]]), torch.zeros(2, 6))
    assert unique_branches(text, GUIDED, SHARED)[1] == GUIDED


def test_the_negative_prompt_of_a_real_source_does_not_reach_its_inversion() -> None:
    model = DiffusionModel(tiny_models.sd1_pipeline())
    scheduler, latents = make_scheduler(model, "ddim", STEPS), 0.5 * initial_noise(model, SIZE, 7)

    def noise(negative: str, prompt: str = "") -> torch.Tensor:
        text = encode_prompt(model, prompt, negative, 7.5, SIZE)
        return RealSource(model, scheduler, latents, text).begin().initial_noise

    assert torch.equal(noise("blue"), noise(""))
    assert not torch.equal(noise("", "a bear"), noise(""))
