"""What is particular to Qwen-Image: places around the middle, and real guidance in two calls of a user's pipeline."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_families
import torch

from masactrl_video.attention.record import record_source
from masactrl_video.attention.use import use_source
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer
from masactrl_video.model.backbones.branches import GUIDED
from masactrl_video.model.backbones.qkv import QKV
from masactrl_video.model.backbones.registry import backbone_of
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import find_words


@pytest.fixture
def pipe() -> Any:
    return tiny_families.pipeline("qwen")


def test_real_guidance_is_recorded_and_used_in_a_users_pipeline(pipe: Any) -> None:
    def picture(prompt: str, seed: int) -> torch.Tensor:
        latents: torch.Tensor = pipe(
            prompt, height=64, width=64, num_inference_steps=2, true_cfg_scale=3.0, negative_prompt="blue",
            generator=torch.Generator().manual_seed(seed), output_type="latent",
        ).images  # fmt: skip
        return latents

    plain, other = picture("a bear in the meadow", 0), picture("a frog", 1)
    with record_source(pipe.transformer, masa_layer=0, branches=GUIDED) as source:
        assert torch.equal(picture("a bear in the meadow", 0), plain)
    assert all(len(keys) == 2 for keys in source.read(1).keys.values())
    with use_source(pipe.transformer, source, masa_step=0, masa_layer=0, branches=GUIDED) as control:
        assert (picture("a bear in the meadow", 0) - plain).abs().max() < 1e-5
        assert (picture("a frog", 1) - other).abs().max() > 1e-3
    assert control.count.fired.total() == 2 * 2 * 2 * 3


def test_a_negative_prompt_that_does_not_come_is_told(pipe: Any) -> None:
    with (
        pytest.raises(UserError, match="the call of the unconditional branch did not come at timestep"),
        record_source(pipe.transformer, masa_layer=0, branches=GUIDED),
    ):
        tiny_families.qwen_plain(pipe, "a bear", None, 1.0, (64, 64), 2, torch.zeros(1, 4, 8, 8))


def test_a_source_of_another_size_stands_around_the_same_middle_and_shifted_ones_behind_the_frame(pipe: Any) -> None:
    def see(layer: AttentionLayer, qkv: QKV) -> None:
        small = qkv.unplaced_key.unflatten(2, (4, 6))[:, :, 1:3, 1:5].flatten(2, 3)
        placed = qkv.placed(small, (2, 4)).unflatten(2, (2, 4))
        assert torch.equal(placed, qkv.key.unflatten(2, (4, 6))[:, :, 1:3, 1:5])
        wide = qkv.unplaced_key.unflatten(2, (4, 6)).repeat(1, 1, 1, 2, 1)
        beside = qkv.placed(wide.flatten(2, 3), (4, 12), (0, 6)).unflatten(2, (4, 12))
        assert torch.equal(beside[:, :, :, :6].flatten(2, 3), qkv.placed(qkv.unplaced_key, (4, 6), (0, 6)))
        seen.append(layer.name)

    seen: list[str] = []
    with backbone_of(pipe).attending(pipe.transformer, {"transformer_blocks.1.attn": see}, {}):
        tiny_families.qwen_plain(pipe, "a bear", None, 1.0, (64, 96), 1, torch.zeros(1, 4, 8, 12))
    assert seen


def test_words_stand_where_the_prompt_begins(pipe: Any) -> None:
    tokenizer = backbone_of(pipe).tokenizer(pipe)
    assert find_words(tokenizer, "a bear in the snow", ["bear", "snow"]) == (1, 4)
    assert pipe.encode_prompt("a bear in the snow")[0].shape[1] == len(tokenizer("a bear in the snow").input_ids)


def test_a_picture_of_the_autoencoder_comes_back_as_by_the_pipeline(pipe: Any) -> None:
    model = DiffusionModel(pipe)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    packed = pipe._pack_latents(latents, 1, 4, 8, 8)
    with torch.no_grad():
        ours = model.latents.decode(model.vae, latents)
        again = model.latents.encode(model.vae, ours, torch.float32)
        mean, deviation = (
            torch.tensor(model.vae.config[name]).view(1, 4, 1, 1, 1) for name in ("latents_mean", "latents_std")
        )
        own = pipe._unpack_latents(packed, 64, 64, 8) / (1 / deviation) + mean
        assert torch.equal(ours, model.vae.decode(own, return_dict=False)[0][:, :, 0])
        found = model.vae.encode(ours[:, :, None]).latent_dist.mean
    assert (again - ((found - mean) / deviation)[:, :, 0]).abs().max() < 1e-6
