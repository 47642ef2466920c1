"""What is particular to Wan: one frame of a video, UniPC along a flow, two calls, norms across heads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_families
import tiny_flux
import torch
from accelerate import init_empty_weights
from diffusers import UniPCMultistepScheduler, WanTransformer3DModel
from safetensors.torch import save_file

from masactrl_video.attention.record import record_source
from masactrl_video.attention.use import use_source
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer, TextCall
from masactrl_video.model.backbones.branches import UNGUIDED
from masactrl_video.model.backbones.registry import backbone_of
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.load import load_pipeline
from masactrl_video.model.prompts import encode_prompt, find_words
from masactrl_video.model.sampling.denoise import Denoising, FrameBatch
from masactrl_video.model.sampling.invert import check_invertible
from masactrl_video.model.sampling.schedulers import make_scheduler

CPU: Any = {"dtype": "float32", "device": "cpu"}
CALL: dict[str, Any] = {"num_frames": 1, "max_sequence_length": tiny_flux.TOKENS, "output_type": "latent"}


@pytest.fixture
def pipe() -> Any:
    return tiny_families.pipeline("wan")


def noise(height: int = 8, width: int = 8, channels: int = 4) -> torch.Tensor:
    return torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(0))


def denoised(pipe: Any, scheduler: Any, start: torch.Tensor, size: tuple[int, int], steps: int) -> torch.Tensor:
    model = DiffusionModel(pipe)
    text = encode_prompt(model, "a bear", "blue", 3.0, size)
    batch = FrameBatch.from_noise(start, None, make_scheduler(model, scheduler, steps, size))
    for number in range(steps):
        Denoising(model, text, 3.0, seed=0).step(batch, number)
    return batch.latents


def test_real_guidance_is_recorded_and_used_in_a_users_pipeline(pipe: Any) -> None:
    def picture(prompt: str, seed: int) -> torch.Tensor:
        latents: torch.Tensor = pipe(
            prompt, height=64, width=64, num_inference_steps=2, guidance_scale=3.0, negative_prompt="blue",
            generator=torch.Generator().manual_seed(seed), **CALL,
        ).frames  # fmt: skip
        return latents

    plain, other = picture("a bear in the meadow", 0), picture("a frog", 1)
    with record_source(pipe.transformer, masa_layer=0) as source:
        assert torch.equal(picture("a bear in the meadow", 0), plain)
    assert all(len(keys) == 2 for keys in source.read(1).keys.values())
    with use_source(pipe.transformer, source, masa_step=0, masa_layer=0) as control:
        assert (picture("a bear in the meadow", 0) - plain).abs().max() < 1e-5
        assert (picture("a frog", 1) - other).abs().max() > 1e-3
    assert control.count.fired.total() == 2 * 2 * 2 * 3  # pictures, steps, calls a step, layers


def test_unipc_takes_the_steps_of_the_pipeline() -> None:
    pipe, start = tiny_families.wan_pipeline(unipc=True), noise(8, 12)
    plain = tiny_families.wan_plain(pipe, "a bear", "blue", 3.0, (64, 96), 4, start)
    assert torch.equal(denoised(pipe, "unipc", start, (64, 96), 4), plain)
    euler, default = (denoised(pipe, name, start, (64, 96), 4) for name in ("flow", "ddim"))
    assert torch.equal(euler, default)
    assert (euler - plain).abs().max() > 1e-4


def test_the_shift_goes_over_from_one_scheduler_to_the_other(pipe: Any) -> None:
    own = DiffusionModel(tiny_families.wan_pipeline(unipc=True))
    other = make_scheduler(DiffusionModel(pipe), "unipc", 4)
    assert torch.equal(make_scheduler(own, "unipc", 4).timesteps, other.timesteps)
    sigmas = make_scheduler(own, "flow", 4).timesteps / 1000
    even = torch.tensor([1.0, 0.75, 0.5, 0.25])
    assert torch.allclose(sigmas, 3 * even / (1 + 2 * even))


def test_a_transformer_that_reads_a_timestep_for_each_token_gets_it() -> None:
    own = tiny_families.wan_pipeline()
    own.register_to_config(expand_timesteps=True)
    start = noise(8, 12)
    plain = tiny_families.wan_plain(own, "a bear", "blue", 3.0, (64, 96), 2, start)
    assert torch.equal(denoised(own, "flow", start, (64, 96), 2), plain)


def test_joined_projections_attend_alike() -> None:
    own = tiny_families.wan_pipeline()
    layers = backbone_of(own).layers(own.transformer)
    maps: list[torch.Tensor] = []

    def read(layer: AttentionLayer, call: TextCall, out: torch.Tensor) -> torch.Tensor:
        maps.append(call.word_map([1], slice(-1, None)))
        return out

    def recorded() -> list[torch.Tensor]:
        with (
            record_source(own.transformer, masa_layer=0, branches=UNGUIDED) as source,
            backbone_of(own).attending(own.transformer, {}, {layers[0].name: [read]}),
        ):
            tiny_families.wan_plain(own, "a bear", None, 1.0, (64, 64), 1, noise())
        return list(source.read(0).keys.values())

    plain = recorded()
    for module in own.transformer.modules():
        if hasattr(module, "fuse_projections") and hasattr(module, "to_q"):
            module.fuse_projections()
    assert all((one - other).abs().max() < 1e-5 for one, other in zip(recorded(), plain, strict=True))
    assert (maps[0] - maps[1]).abs().max() < 1e-5
    assert maps[0].shape == (1, 16)
    assert 0 < float(maps[0].min()) < float(maps[0].max()) < 1


def test_words_stand_where_the_prompt_begins(pipe: Any) -> None:
    assert find_words(backbone_of(pipe).tokenizer(pipe), "  a bear   in the snow ", ["bear", "snow"]) == (1, 4)


def test_a_picture_of_the_autoencoder_comes_back_as_by_the_pipeline(pipe: Any) -> None:
    model, latents = DiffusionModel(pipe), noise()
    shown = pipe(
        "a bear", height=64, width=64, num_frames=1, num_inference_steps=1, latents=latents[:, :, None],
        guidance_scale=1.0, max_sequence_length=tiny_flux.TOKENS, output_type="pt",
    ).frames[:, 0]  # fmt: skip
    end = tiny_families.wan_plain(pipe, "a bear", None, 1.0, (64, 64), 1, latents)
    with torch.no_grad():
        ours = model.latents.decode(model.vae, end)
        assert torch.allclose((ours / 2 + 0.5).clamp(0, 1), shown, atol=1e-6)
        again = model.latents.encode(model.vae, ours, torch.float32)
    assert again.shape == latents.shape


def test_a_clip_in_one_call_is_refused(pipe: Any) -> None:
    with (
        pytest.raises(UserError, match=r"had 2 frames of latents.*take num_frames=1"),
        record_source(pipe.transformer, masa_layer=0, branches=UNGUIDED),
    ):
        pipe("a bear", height=64, width=64, num_inference_steps=1, guidance_scale=1.0, **CALL | {"num_frames": 5})


def test_two_transformers_are_refused_before_they_are_loaded(pipe: Any, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["transformer_2"] == [None, None]
    index |= {"transformer_2": ["diffusers", "WanTransformer3DModel"], "boundary_ratio": 0.875}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="has two transformers, for high and for low noise"):
        load_pipeline(str(tmp_path), **CPU)


def test_a_transformer_that_reads_a_picture_is_refused() -> None:
    with init_empty_weights():
        network = WanTransformer3DModel(num_layers=1, image_dim=8, added_kv_proj_dim=16)
    with pytest.raises(UserError, match="makes videos of a given picture"):
        backbone_of(network).layers(network)


@pytest.mark.parametrize(
    ("name", "steps", "changes", "said"),
    [
        ("euler", 4, {}, "scheduler euler: Wan is a flow; give unipc, or flow"),
        ("unipc", 1001, {}, "num_inference_steps: got 1001; this model has 1000 noise levels"),
        ("unipc", 900, {}, "with 900 steps it visits a timestep twice"),
        ("unipc", 4, {"use_flow_sigmas": False}, "this model's UniPC is not set up as Wan's"),
        ("flow", 4, {"prediction_type": "epsilon"}, "this model's UniPC is not set up as Wan's"),
    ],
)
def test_steps_that_it_cannot_take(name: Any, steps: int, changes: dict[str, Any], said: str) -> None:
    pipe = tiny_families.wan_pipeline(unipc=True)
    pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config, **changes)
    with pytest.raises(UserError, match=said):
        make_scheduler(DiffusionModel(pipe), name, steps)


def test_a_real_picture_is_inverted_along_the_flow(pipe: Any) -> None:
    model = DiffusionModel(pipe)
    check_invertible(make_scheduler(model, "flow", 4))
    with pytest.raises(UserError, match="take scheduler ddim"):
        check_invertible(make_scheduler(model, "unipc", 4))


def test_a_transformer_in_its_authors_layout_takes_the_rest_from_a_folder(tmp_path: Path) -> None:
    pipe = tiny_families.wan_pipeline()
    pipe.save_pretrained(tmp_path / "model")
    plain = tiny_families.wan_plain(pipe, "a bear", None, 1.0, (64, 64), 1, noise())
    file = tmp_path / "wan.safetensors"
    save_file({f"model.diffusion_model.{authors(n)}": t for n, t in pipe.transformer.state_dict().items()}, file)
    pipe.transformer.proj_out.weight.data.zero_()
    pipe.transformer.save_pretrained(tmp_path / "model" / "transformer")
    loaded = tiny_families.in_own_memory(load_pipeline(str(file), config=str(tmp_path / "model"), **CPU))
    loaded.set_progress_bar_config(disable=True)
    assert torch.equal(tiny_families.wan_plain(loaded, "a bear", None, 1.0, (64, 64), 1, noise()), plain)


AUTHORS = {
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "proj_out": "head.head",
    "attn1": "self_attn",
    "attn2": "cross_attn",
    "to_out.0": "o",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
    "norm2": "norm3",
}
"""Part of a weight's name in diffusers' layout → in the authors'."""


def authors(name: str) -> str:
    """A weight's name in the authors' layout."""
    if name == "scale_shift_table":
        return "head.modulation"
    name = name.replace("scale_shift_table", "modulation")
    for ours, theirs in AUTHORS.items():
        name = name.replace(f"{ours}.", f"{theirs}.")
    return name
