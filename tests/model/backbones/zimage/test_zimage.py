"""What is particular to Z-Image: captions filled up to 32 tokens, whose length stands in the places of the picture."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_families
import torch

from masactrl_video.attention.record import record_source
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer
from masactrl_video.model.backbones.qkv import QKV
from masactrl_video.model.backbones.registry import backbone_of
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt, find_words
from masactrl_video.model.sampling.denoise import Denoising, FrameBatch
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler

LONG = "a frog in the meadow " * 5
"""More than 32 tokens."""


@pytest.fixture
def pipe() -> Any:
    return tiny_families.pipeline("zimage")


def test_a_long_prompt_and_a_short_negative_one_are_guided_as_by_the_pipeline(pipe: Any) -> None:
    model, size = DiffusionModel(pipe), (64, 96)
    noise = initial_noise(model, size, 5)
    text = encode_prompt(model, LONG, "blue", 3.0, size)
    batch = FrameBatch.from_noise(noise, None, make_scheduler(model, "flow", 2, size))
    for step in range(2):
        Denoising(model, text, 3.0, seed=5).step(batch, step)
    plain = tiny_families.zimage_plain(pipe, LONG, "blue", 3.0, size, 2, noise)
    assert (batch.latents - plain).abs().max() < 1e-5
    short = tiny_families.zimage_plain(pipe, LONG, "blue", 2.0, size, 2, noise)
    assert (short - plain).abs().max() > 1e-3


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


def test_real_guidance_of_the_pipeline_itself_is_refused(pipe: Any) -> None:
    guided = {"guidance_scale": 3.0, "max_sequence_length": 64, "output_type": "latent", "num_inference_steps": 1}
    with pytest.raises(UserError, match="a source is one image"), record_source(pipe.transformer, masa_layer=0):
        pipe("a frog", height=64, width=64, **guided)
    keep = {layer.name: lambda layer, qkv: None for layer in backbone_of(pipe).layers(pipe.transformer)}
    with (
        pytest.raises(UserError, match=r"captions of different lengths .*: take guidance_scale 0"),
        backbone_of(pipe).attending(pipe.transformer, keep, {}),
    ):
        pipe(LONG, height=64, width=64, **guided)
