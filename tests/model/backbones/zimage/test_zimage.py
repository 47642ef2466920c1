"""What is particular to Z-Image: captions filled up to 32 tokens, whose length stands in the places of the picture."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_families
import torch

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.plan import plan_control
from masactrl_video.attention.record import record_source
from masactrl_video.attention.recorded import SHARED, MemorySource, StepRecord
from masactrl_video.attention.use import control_attention, use_source
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer
from masactrl_video.model.backbones.branches import GUIDED, PLAIN, UNGUIDED, GuidanceRule
from masactrl_video.model.backbones.qkv import QKV
from masactrl_video.model.backbones.registry import backbone_of
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt, find_words
from masactrl_video.model.sampling.denoise import Denoising, FrameBatch
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler

LONG = "a frog in the meadow " * 5
"""More than 32 tokens."""
STEPS = 3
SHORT: dict[str, Any] = {
    "height": 64, "width": 64, "max_sequence_length": 64, "output_type": "latent", "num_inference_steps": 1
}  # fmt: skip


@pytest.fixture
def pipe() -> Any:
    return tiny_families.pipeline("zimage")


def ours(pipe: Any, rule: GuidanceRule, prompt: str = LONG, size: tuple[int, int] = (64, 96)) -> torch.Tensor:
    model = DiffusionModel(pipe)
    text = encode_prompt(model, prompt, "blue", 3.0, size)
    batch = FrameBatch.from_noise(initial_noise(model, size, 5), None, make_scheduler(model, "flow", STEPS, size))
    for step in range(STEPS):
        Denoising(model, text, 3.0, seed=5, rule=rule).step(batch, step)
    return batch.latents


def plain(pipe: Any, prompt: str = LONG, size: tuple[int, int] = (64, 96), scale: float = 3.0, **how: Any) -> Any:
    noise = initial_noise(DiffusionModel(pipe), size, 5)
    return tiny_families.zimage_plain(pipe, prompt, "blue", scale, size, STEPS, noise, **how)


@pytest.mark.parametrize("prompt", [LONG, "a frog"])
@pytest.mark.parametrize(("normalization", "truncation"), [(0.0, 1.0), (0.9, 1.0), (0.0, 0.3), (1.0, 0.3)])
def test_a_guided_picture_is_the_pipelines_to_the_bit(
    pipe: Any, prompt: str, normalization: float, truncation: float
) -> None:
    rule = GuidanceRule(normalization, truncation)
    expected = plain(pipe, prompt, cfg_normalization=normalization, cfg_truncation=truncation)
    assert torch.equal(ours(pipe, rule, prompt), expected)
    if rule != PLAIN:
        assert (expected - plain(pipe, prompt)).abs().max() > 1e-4
    assert (expected - plain(pipe, prompt, scale=2.0)).abs().max() > 1e-4


@pytest.mark.parametrize("truncation", [1.0, 0.3])
@pytest.mark.parametrize("mode", ["source", "union"])
def test_a_pipeline_of_the_users_is_controlled_under_real_guidance(pipe: Any, truncation: float, mode: str) -> None:
    """Its negative prompt comes in the same call, of other length, and at truncated steps not at all."""
    how = {"cfg_truncation": truncation}
    with record_source(pipe.transformer, masa_layer=0, branches=GUIDED) as source:
        picture = plain(pipe, LONG, **how)
    assert torch.equal(picture, plain(pipe, LONG, **how))
    held = {"masa_step": 0, "masa_layer": 0, "branches": GUIDED, "mode": mode}
    with use_source(pipe.transformer, source, **held) as control:
        again, other = plain(pipe, LONG, **how), plain(pipe, "a frog", **how)
    assert control.check_fired()["controlled_attention_calls"] == 2 * STEPS * 4
    assert mode == "union" or (again - picture).abs().max() < 1e-5
    assert (other - plain(pipe, "a frog", **how)).abs().max() > 1e-3

    model, size = DiffusionModel(pipe), (64, 96)
    text, schedule = encode_prompt(model, "a frog", "blue", 3.0, size), make_scheduler(model, "flow", STEPS, size)
    denoising = Denoising(model, text, 3.0, seed=5, rule=GuidanceRule(0.0, truncation))
    batch = FrameBatch.from_noise(initial_noise(model, size, 5), None, schedule)
    plan = plan_control(pipe.transformer, STEPS, masa_step=0, masa_layer=0, mode=mode)
    with control_attention(pipe.transformer, source, plan, clock=model.clock) as control:
        for step in range(STEPS):
            control.use_branches(denoising.text_at(step, schedule.timesteps).names)
            denoising.step(batch, step)
    assert torch.equal(batch.latents, other)


@pytest.mark.parametrize("mode", ["source", "union", "masked"])
def test_a_source_whose_branches_are_the_same_stands_in_the_places_of_each_prompt(pipe: Any, mode: str) -> None:
    """As that of a real picture, under prompts of other lengths."""
    with record_source(pipe.transformer, masa_layer=0) as source:
        tiny_families.zimage_plain(
            pipe, "a bear", None, 0, (64, 96), STEPS, initial_noise(DiffusionModel(pipe), (64, 96), 5)
        )
    twice = {
        step: StepRecord(*({n: s.repeat(2, 1, 1) for n, s in states.items()} for states in (r.keys, r.values)))
        for step, r in source.records.items()
    }
    rule = MaskRule(source_mask=torch.ones(8, 12).bool()) if mode == "masked" else None
    pictures = []
    for branches, records in (((SHARED,), source.records), (GUIDED, twice)):
        one = MemorySource(branches, source.layers, source.timesteps, records)
        held = {"masa_step": 0, "masa_layer": 0, "branches": GUIDED, "mode": mode, "masks": rule}
        with use_source(pipe.transformer, one, **held) as control:
            control.figures.target_mask = torch.ones(1, 8, 12).bool()
            pictures.append(plain(pipe, LONG))
    assert (pictures[0] - pictures[1]).abs().max() < 1e-5
    assert (pictures[0] - plain(pipe, LONG)).abs().max() > 1e-3


def test_a_word_is_found_in_the_prompt_of_both_branches(pipe: Any) -> None:
    """Not in the negative one, whose rows come last."""
    tokens = find_words(backbone_of(pipe).tokenizer(pipe), "a frog in the snow", ["frog"])
    maps = []
    for scale in (3.0, 0.0):
        branches = GUIDED if scale else UNGUIDED
        with record_source(
            pipe.transformer, masa_layer=2, branches=branches, object_tokens=tokens, mask_grid_divisor=2
        ) as source:
            pipe("a frog in the snow", **SHORT, guidance_scale=scale, generator=torch.Generator().manual_seed(1))
        maps.append(source.read(0).object_map)
    assert (maps[0] - maps[1]).abs().max() < 1e-5


def test_the_sources_keys_stand_where_the_frame_has_its_own(pipe: Any) -> None:
    """With captions of other lengths the same key has other places, and the scores among the picture's tokens stay."""
    found: dict[str, list[QKV]] = {}

    def see(layer: AttentionLayer, qkv: QKV) -> None:
        found.setdefault(layer.name, []).append(qkv)
        key = found[layer.name][0].unplaced_key
        placed.setdefault(layer.name, []).append((qkv.placed(key, (4, 4)), qkv.placed(key, (4, 4))))

    placed: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    backbone = backbone_of(pipe)
    layers = backbone.layers(pipe.transformer)
    with backbone.attending(pipe.transformer, {layer.name: see for layer in layers}, {}):
        for prompt in ("a frog", LONG):
            tiny_families.zimage_plain(pipe, prompt, None, 0, (64, 64), 1, torch.zeros(1, 4, 8, 8))
    for (at_short, query), (at_long, long_query) in placed.values():
        assert (at_short - at_long).abs().max() > 1e-2
        assert (query @ at_short.transpose(-1, -2) - long_query @ at_long.transpose(-1, -2)).abs().max() < 1e-4


def test_words_are_looked_up_in_the_conversation(pipe: Any) -> None:
    tokenizer = backbone_of(pipe).tokenizer(pipe)
    for prompt, word in (("a bear in the snow", "Ġbear"), ("bear in the snow", "bear")):
        whole = pipe.tokenizer.convert_ids_to_tokens(tokenizer(prompt).input_ids)
        assert [whole[place] for place in find_words(tokenizer, prompt, ["bear"])] == [word]
    with pytest.raises(UserError, match="'panda' is not in the prompt"):
        find_words(tokenizer, "a bear", ["panda"])


def test_what_does_not_go_with_real_guidance_is_refused(pipe: Any) -> None:
    with pytest.raises(UserError, match="say so with branches=GUIDED"), record_source(pipe.transformer, masa_layer=0):
        pipe("a frog", **SHORT, guidance_scale=3.0)
    with record_source(pipe.transformer, masa_layer=0) as source:
        pipe("a frog", **SHORT, guidance_scale=0.0)
    held = {"masa_step": 0, "masa_layer": 0}
    with pytest.raises(UserError, match="say so with branches=GUIDED"), use_source(pipe.transformer, source, **held):
        pipe("a frog", **SHORT, guidance_scale=3.0)
    with (
        pytest.raises(UserError, match="recorded without its unconditional branch"),
        use_source(pipe.transformer, source, **held, branches=GUIDED),
    ):
        pipe("a frog", **SHORT, guidance_scale=3.0)
    with (
        pytest.raises(UserError, match="captions of different lengths for pictures of one branch"),
        use_source(pipe.transformer, source, **held),
    ):
        pipe(["a frog", "a bear", LONG], **SHORT, guidance_scale=0.0)
