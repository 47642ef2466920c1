"""Prompt-to-Prompt: words are aligned, and the source's maps arrive where they should."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_models
import torch

from masactrl_video.attention.baselines.prompt_to_prompt import WordAlignment, align_words, prompt_to_prompt
from masactrl_video.model.backbones.unet.layers import self_attention_layers
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler, timesteps_of

SOURCE, SIZE, STEPS = "a bear in the meadow", (64, 96), 4


def test_the_same_prompt_takes_every_map(sd1: Any) -> None:
    alignment = align_words(sd1.tokenizer, SOURCE, SOURCE)
    assert torch.equal(alignment.weights, torch.eye(sd1.tokenizer.model_max_length))
    assert not alignment.is_new.any()


def test_a_swapped_word_takes_the_map_of_the_one_that_it_replaces(sd1: Any) -> None:
    words = {word: sd1.tokenizer(word, add_special_tokens=False).input_ids for word in ("bear", "frog")}
    alignment = align_words(sd1.tokenizer, SOURCE, "a frog in the meadow")
    assert not alignment.is_new.any()
    assert len(words["bear"]) == len(words["frog"]) == 1
    assert torch.equal(alignment.weights, torch.eye(sd1.tokenizer.model_max_length))


def test_a_word_of_more_tokens_shares_the_map_out(sd1: Any) -> None:
    long = "zqxj"
    tokens = len(sd1.tokenizer(long, add_special_tokens=False).input_ids)
    assert tokens > 1
    weights = align_words(sd1.tokenizer, SOURCE, f"a {long} in the meadow").weights
    assert weights[2, 2 : 2 + tokens].tolist() == pytest.approx([1 / tokens] * tokens)
    assert weights[3, 2 + tokens] == 1, "the words behind it have moved"


def test_added_words_keep_their_own_maps(sd1: Any) -> None:
    alignment = align_words(sd1.tokenizer, SOURCE, "a red bear in the meadow")
    assert alignment.is_new.nonzero().flatten().tolist() == [2]
    assert [int(alignment.weights[:, j].argmax()) for j in (0, 1, 3, 4, 5, 6, 7)] == [0, 1, 2, 3, 4, 5, 6]


def test_a_removed_word_leaves_the_others_aligned(sd1: Any) -> None:
    weights = align_words(sd1.tokenizer, SOURCE, "a bear in meadow").weights
    assert [int(weights[:, j].argmax()) for j in (1, 2, 3, 4, 5)] == [1, 2, 3, 5, 6]


def test_prompts_longer_than_the_encoder_reads_are_aligned_as_far_as_it_does(sd1: Any) -> None:
    length = sd1.tokenizer.model_max_length
    alignment = align_words(sd1.tokenizer, "a bear " * length, "a frog " * length)
    assert alignment.weights.sum(0).tolist() == pytest.approx([1] * length)


def calls(model: DiffusionModel, alignment: WordAlignment, prompt: str, **arguments: Any) -> tuple[torch.Tensor, ...]:
    """The UNet's output for source and target, both in both branches, at every step; the target has other noise."""
    scheduler = make_scheduler(model, "ddim", STEPS)
    texts = [encode_prompt(model, text, "", 7.5, SIZE).for_frames(1) for text in (SOURCE, prompt)]
    noise = [initial_noise(model, SIZE, seed).repeat(2, 1, 1, 1) for seed in (1, 2)]
    found: list[list[torch.Tensor]] = [[], []]
    with torch.no_grad(), prompt_to_prompt(model.unet, timesteps_of(scheduler), alignment, **arguments) as lockstep:
        for timestep in scheduler.timesteps:
            found[0].append(model.unet(noise[0], timestep, **texts[0]).sample)
            with lockstep.target():
                found[1].append(model.unet(noise[1], timestep, **texts[1]).sample)
    return torch.stack(found[0]), torch.stack(found[1])


def plain(model: DiffusionModel, prompt: str, seed: int) -> torch.Tensor:
    scheduler = make_scheduler(model, "ddim", STEPS)
    text = encode_prompt(model, prompt, "", 7.5, SIZE).for_frames(1)
    noise = initial_noise(model, SIZE, seed).repeat(2, 1, 1, 1)
    with torch.no_grad():
        return torch.stack([model.unet(noise, timestep, **text).sample for timestep in scheduler.timesteps])


@pytest.mark.parametrize("part", ["cross_steps", "self_steps"])
def test_maps_are_taken_in_the_first_steps_and_in_the_conditional_branch_alone(pipe: Any, part: str) -> None:
    model, prompt = DiffusionModel(pipe), "a frog in the meadow"
    alignment = align_words(pipe.tokenizer, SOURCE, prompt)
    arguments: dict[str, Any] = {"cross_steps": 0.0, "self_steps": 0.0} | {part: 0.5}
    source, target = calls(model, alignment, prompt, **arguments)
    assert torch.equal(source, plain(model, SOURCE, 1)), "the source is not touched"
    difference = (target - plain(model, prompt, 2)).abs().amax(dim=(2, 3, 4))  # -> (steps, branches)
    assert (difference[:2, 1] > 1e-6).all()
    assert (difference[2:, 1] == 0).all()
    assert (difference[:, 0] == 0).all()


def test_every_map_of_the_source_makes_each_attention_of_the_same_values_the_sources(sd1: Any) -> None:
    """With all maps injected the target differs from the source by nothing but its values: give it the same ones."""
    model = DiffusionModel(sd1)
    layers = self_attention_layers(sd1.unet)
    kept: dict[str, list[torch.Tensor]] = {}
    hooks = []
    for layer in layers:  # values that do not depend on the picture or the prompt
        for name in (layer.name, layer.name.replace("attn1", "attn2")):
            attention = sd1.unet.get_submodule(name)
            values = torch.randn(1, attention.inner_dim, generator=torch.Generator().manual_seed(5))
            hooks.append(
                attention.to_v.register_forward_hook(
                    lambda _, inputs, out, v=values: (v * torch.arange(out.shape[1])[:, None]).expand_as(out)
                )
            )
            hooks.append(
                attention.to_out[0].register_forward_hook(
                    lambda _, __, out, name=name: kept.setdefault(name, []).append(out[-1])
                )
            )
    alignment = align_words(sd1.tokenizer, SOURCE, SOURCE)
    calls(model, alignment, SOURCE, cross_steps=1.0, self_steps=1.0, self_layers=layers)
    for hook in hooks:
        hook.remove()
    for name, outputs in kept.items():
        per_step = len(outputs) // STEPS  # the source's, then the target's plain and injected
        for step in range(STEPS):
            first, *_, last = outputs[step * per_step : (step + 1) * per_step]
            assert torch.allclose(first, last, atol=1e-4), name


def test_every_map_under_the_same_prompt_and_noise_reproduces_the_source(pipe: Any) -> None:
    model = DiffusionModel(pipe)
    scheduler = make_scheduler(model, "ddim", STEPS)
    text = encode_prompt(model, SOURCE, "", 7.5, SIZE).for_frames(1)
    noise = initial_noise(model, SIZE, 1).repeat(2, 1, 1, 1)
    alignment, layers = align_words(pipe.tokenizer, SOURCE, SOURCE), self_attention_layers(pipe.unet)
    injected = prompt_to_prompt(
        pipe.unet, timesteps_of(scheduler), alignment, cross_steps=1, self_steps=1, self_layers=layers
    )
    with torch.no_grad(), injected as lockstep:
        for timestep in scheduler.timesteps:
            source = pipe.unet(noise, timestep, **text).sample
            with lockstep.target():
                target = pipe.unet(noise, timestep, **text).sample
            assert (source - target).abs().max() < 1e-5
    assert len(lockstep.fired) == STEPS * 2 * len(layers)


def test_a_target_at_another_step_than_the_source_is_refused(sd1: Any) -> None:
    model = DiffusionModel(sd1)
    scheduler = make_scheduler(model, "ddim", STEPS)
    text = encode_prompt(model, SOURCE, "", 7.5, SIZE).for_frames(1)
    noise = initial_noise(model, SIZE, 1).repeat(2, 1, 1, 1)
    before = sd1.unet.attn_processors
    alignment = align_words(sd1.tokenizer, SOURCE, SOURCE)
    with (
        pytest.raises(RuntimeError, match="side by side"),
        torch.no_grad(),
        prompt_to_prompt(sd1.unet, timesteps_of(scheduler), alignment) as lockstep,
    ):
        sd1.unet(noise, scheduler.timesteps[0], **text)
        with lockstep.target():
            sd1.unet(noise, scheduler.timesteps[1], **text)
    after = sd1.unet.attn_processors
    assert all(after[key] is before[key] for key in before)
    assert not sd1.unet._forward_pre_hooks


def test_a_source_without_its_target_is_noticed() -> None:
    model = DiffusionModel(tiny_models.sd1_pipeline())
    with pytest.raises(RuntimeError, match="injected 0 times, expected 1"):
        timesteps = timesteps_of(make_scheduler(model, "ddim", STEPS))
        with prompt_to_prompt(model.unet, timesteps, align_words(model.pipe.tokenizer, SOURCE, SOURCE)):
            pass
