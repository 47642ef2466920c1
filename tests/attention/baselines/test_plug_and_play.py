"""Plug-and-Play: features and self-attention of the source arrive where they should."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_models
import torch

from masactrl_video.attention.baselines.plug_and_play import attention_of, decoder_layers, plug_and_play
from masactrl_video.attention.recorded import SHARED
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler, timesteps_of

SOURCE, PROMPT, SIZE, STEPS = "a bear in the meadow", "a frog on the ice", (64, 96), 4


def test_decoder_layers_are_those_of_the_paper(sd1: Any) -> None:
    layers = decoder_layers(sd1.unet)
    assert (len(layers), layers[4]) == (12, "up_blocks.1.resnets.1")
    behind = attention_of(sd1.unet, layers[4:])
    assert [layer.index for layer in behind] == [8, 9, 10, 11, 12, 13, 14, 15]


def calls(pipe: Any, prompt: str, source_branches: tuple[str, ...] | None = None, **arguments: Any) -> Any:
    """The UNet's output for source and target at every step; the target has other noise."""
    model = DiffusionModel(pipe)
    scheduler = make_scheduler(model, "ddim", STEPS)
    source_text, text = (encode_prompt(model, words, "blue", 7.5, SIZE) for words in (SOURCE, prompt))
    source_text = source_text.branch(1) if source_branches else source_text
    noise = [initial_noise(model, SIZE, seed) for seed in (1, 2)]
    found: list[list[torch.Tensor]] = [[], []]
    chosen = {"source_branches": source_branches} if source_branches else {}
    with torch.no_grad(), plug_and_play(pipe.unet, timesteps_of(scheduler), **chosen, **arguments) as lockstep:
        for timestep in scheduler.timesteps:
            rows = noise[0].repeat(source_text.branches, 1, 1, 1)
            found[0].append(pipe.unet(rows, timestep, **source_text.for_frames(1)).sample)
            with lockstep.target():
                found[1].append(pipe.unet(noise[1].repeat(2, 1, 1, 1), timestep, **text.for_frames(1)).sample)
    return torch.stack(found[0]), torch.stack(found[1])


def plain(pipe: Any, prompt: str, seed: int) -> torch.Tensor:
    model = DiffusionModel(pipe)
    text = encode_prompt(model, prompt, "blue", 7.5, SIZE).for_frames(1)
    noise = initial_noise(model, SIZE, seed).repeat(2, 1, 1, 1)
    timesteps = make_scheduler(model, "ddim", STEPS).timesteps
    with torch.no_grad():
        return torch.stack([pipe.unet(noise, timestep, **text).sample for timestep in timesteps])


@pytest.mark.parametrize("part", ["feature_steps", "attention_steps"])
def test_injection_is_in_the_first_steps_and_in_both_branches(pipe: Any, part: str) -> None:
    source, target = calls(pipe, PROMPT, **{"feature_steps": 0.0, "attention_steps": 0.0, part: 0.5})
    assert torch.equal(source, plain(pipe, SOURCE, 1)), "the source is not touched"
    difference = (target - plain(pipe, PROMPT, 2)).abs().amax(dim=(2, 3, 4))  # -> (steps, branches)
    assert (difference[:2] > 1e-6).all()
    assert (difference[2:] == 0).all()


def test_everything_injected_reproduces_the_source_from_other_noise(sd1: Any) -> None:
    layers = decoder_layers(sd1.unet)
    everything = {"feature_layers": layers, "attention_layers": attention_of(sd1.unet, layers)}
    source, target = calls(sd1, SOURCE, feature_steps=1.0, attention_steps=1.0, **everything)
    assert (source - target).abs().max() < 1e-5
    assert (plain(sd1, SOURCE, 2) - source).abs().max() > 1e-2


def test_features_of_a_last_block_without_attention_reproduce_the_source_under_any_prompt() -> None:
    pipe = tiny_models.sdxl_pipeline()
    source, target = calls(pipe, PROMPT, feature_steps=1.0, feature_layers=decoder_layers(pipe.unet))
    assert (source - target).abs().max() < 1e-5


def test_a_shared_branch_of_the_source_serves_both_of_the_target(sd1: Any) -> None:
    layers = decoder_layers(sd1.unet)
    source, target = calls(sd1, SOURCE, (SHARED,), feature_steps=1.0, feature_layers=layers, attention_steps=1.0)
    assert (source[:, 0] - target[:, 1]).abs().max() < 1e-5, "its conditional branch has the source's prompt"
    assert (source[:, 0] - target[:, 0]).abs().max() > 1e-6


def test_the_unet_is_as_before_also_after_an_exception(sd1: Any) -> None:
    before, picture = sd1.unet.attn_processors, plain(sd1, PROMPT, 2)
    with pytest.raises(ZeroDivisionError), plug_and_play(sd1.unet, [1.0]):
        raise ZeroDivisionError
    after = sd1.unet.attn_processors
    assert all(after[key] is before[key] for key in before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in sd1.unet.modules())
    assert torch.equal(plain(sd1, PROMPT, 2), picture)
