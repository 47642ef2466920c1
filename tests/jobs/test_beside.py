"""Targets beside the source, and from its noised picture."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_models
import torch
from diffusers import StableDiffusionImg2ImgPipeline

from masactrl_video.attention.baselines.plug_and_play import attention_of, decoder_layers, plug_and_play
from masactrl_video.attention.baselines.prompt_to_prompt import align_words, prompt_to_prompt
from masactrl_video.attention.recorded import SHARED
from masactrl_video.errors import UserError
from masactrl_video.jobs.baseline_denoising import denoise_beside, denoise_noised
from masactrl_video.model.backbones.branches import GUIDED
from masactrl_video.model.backbones.unet.controls import PreparedGuidance
from masactrl_video.model.backbones.unet.layers import self_attention_layers
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt
from masactrl_video.model.sampling.denoise import Denoising
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler, timesteps_of
from masactrl_video.sources.source import GeneratedSource, RealSource, unique_branches

SOURCE, PROMPT, SIZE, STEPS = "a bear in the meadow", "a frog in the meadow", (64, 96), 10


def denoising(model: DiffusionModel, prompt: str) -> Denoising:
    return Denoising(model, encode_prompt(model, prompt, "", 7.5, SIZE), 4.0, seed=5)


@pytest.mark.parametrize(("name", "strength"), [("ddim", 0.55), ("ddim", 1.0), ("euler", 0.5), ("dpm++", 0.3)])
def test_a_noised_picture_is_denoised_as_by_img2img(name: Any, strength: float) -> None:
    pipe = tiny_models.sd1_pipeline()
    model = DiffusionModel(pipe)
    scheduler = make_scheduler(model, name, STEPS)
    latents, noise = 0.6 * initial_noise(model, SIZE, 7), initial_noise(model, SIZE, 3)
    ours = denoise_noised(denoising(model, PROMPT), PreparedGuidance(), scheduler, latents, noise, strength)
    parts = {key: value for key, value in pipe.components.items() if key != "scheduler"}
    plain = StableDiffusionImg2ImgPipeline(**parts, scheduler=scheduler, requires_safety_checker=False)
    plain.set_progress_bar_config(disable=True)
    expected = plain(
        PROMPT,
        image=latents,
        strength=strength,
        num_inference_steps=STEPS,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(3),
        output_type="latent",
    ).images
    assert (ours - expected).abs().max() < 1e-4


def test_a_strength_of_less_than_a_step_is_refused() -> None:
    model = DiffusionModel(tiny_models.sd1_pipeline())
    noise = initial_noise(model, SIZE, 3)
    with pytest.raises(UserError, match=r"0\.05 of 10 steps is less than one; give at least 0\.1"):
        denoise_noised(
            denoising(model, PROMPT), PreparedGuidance(), make_scheduler(model, "ddim", STEPS), noise, noise, 0.05
        )


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("method", ["prompt-to-prompt", "plug-and-play"])
def test_a_target_of_the_sources_prompt_is_the_source_and_of_another_it_is_not(real: bool, method: str) -> None:
    model = DiffusionModel(tiny_models.sd1_pipeline())
    unet, scheduler = model.unet, make_scheduler(model, "ddim", 4)
    source: Any
    if real:
        text, branches = unique_branches(encode_prompt(model, "", "", 7.5, SIZE), GUIDED, SHARED)
        source = RealSource(model, scheduler, 0.6 * initial_noise(model, SIZE, 7), text, replayed=False)
    else:
        branches = GUIDED
        source = GeneratedSource(denoising(model, SOURCE), scheduler, initial_noise(model, SIZE, 5), PreparedGuidance())
    walk = source.begin()
    list(walk.steps)
    own = "" if real else SOURCE
    for prompt in (own, PROMPT):
        if method == "plug-and-play":
            layers = decoder_layers(unet)
            injected = plug_and_play(
                unet, timesteps_of(scheduler), source_branches=branches, attention_layers=attention_of(unet, layers)
            )
        else:
            injected = prompt_to_prompt(
                unet,
                timesteps_of(scheduler),
                align_words(model.pipe.tokenizer, own, prompt),
                source_branches=branches,
                self_layers=self_attention_layers(unet),
            )
        target = denoise_beside(source, denoising(model, prompt), PreparedGuidance(), injected, method)
        difference = (target - walk.final_latents).abs().max()
        assert difference < 1e-4 if prompt == own else difference > 1e-3
