"""FLUX.1 from folders, from a transformer in one file, and with a LoRA."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import lora_files
import pytest
import tiny_flux
import torch
from safetensors.torch import save_file

from masactrl_video.demo.architecture import (
    STAND_IN,
    build_flow_scheduler,
    build_flux_controlnet,
    build_text_encoder,
    build_transformer,
    build_vae,
)
from masactrl_video.demo.folder import write_transformer_weights
from masactrl_video.demo.tokenizer import build_tokenizer
from masactrl_video.demo.world.vocabulary import known_words
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.controls import NetworkChoice
from masactrl_video.model.loading.load import load_model, load_pipeline
from masactrl_video.model.loading.lora import LoraFile

CPU: Any = {"dtype": "float32", "device": "cpu"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flux") / "model"
    pipe = tiny_flux.pipeline()
    pipe.save_pretrained(folder)
    tiny_flux.controlnet(pipe.transformer).save_pretrained(folder / "controlnet")
    return folder


def picture(pipe: Any) -> torch.Tensor:
    pipe.set_progress_bar_config(disable=True)
    latents: torch.Tensor = pipe(
        "a bear", height=64, width=64, num_inference_steps=1, output_type="latent",
        generator=torch.Generator().manual_seed(0), max_sequence_length=tiny_flux.TOKENS,
    ).images  # fmt: skip
    return latents


def test_a_folder_holds_what_was_saved(folder: Path) -> None:
    control = NetworkChoice("pose", "controlnet", str(folder / "controlnet"), 0.5)
    model = load_model(str(folder), networks=[control], **CPU)
    assert torch.equal(picture(model.pipe), picture(tiny_flux.pipeline()))
    space = model.latents
    assert (space.channels, space.downscale, space.multiple_px, space.native_size_px) == (4, 8, 16, (128, 128))
    pixels = torch.rand(1, 3, 64, 64) * 2 - 1
    mean = model.vae.encode(pixels).latent_dist.mean
    latents = space.encode(model.vae, pixels, torch.float32)
    assert torch.allclose(latents, (mean - 0.11) * 0.36)
    assert torch.allclose(space.decode(model.vae, latents), model.vae.decode(mean).sample, atol=1e-5)


def test_a_transformer_in_one_file_takes_the_rest_from_a_folder(folder: Path, tmp_path: Path) -> None:
    other = tiny_flux.transformer()
    with torch.no_grad():
        other.proj_out.weight.mul_(2)
    file = tmp_path / "fine-tuned.safetensors"
    save_file(other.state_dict(), file)
    expected = tiny_flux.pipeline()
    expected.transformer = other
    assert torch.equal(picture(load_pipeline(str(file), config=str(folder), **CPU)), picture(expected))
    with pytest.raises(UserError, match="the file holds the transformer alone; give as config the folder"):
        load_pipeline(str(file), **CPU)
    save_file({**other.state_dict(), "extra.weight": torch.zeros(1)}, file)
    with pytest.raises(UserError, match="1 weight in its files belongs to no layer of its FluxTransformer2DModel"):
        load_pipeline(str(file), config=str(folder), **CPU)


def test_a_lora_changes_the_picture_by_its_scale(folder: Path, tmp_path: Path) -> None:
    pipe = tiny_flux.pipeline()
    layers = lora_files._layers(pipe.transformer, ["to_q", "to_k", "to_v", "add_k_proj", "proj_mlp"])
    pipe.save_lora_weights(tmp_path, weight_name="flux.safetensors", transformer_lora_layers=layers)
    plain, weak, strong = (
        picture(load_pipeline(str(folder), loras=[LoraFile(str(tmp_path / "flux.safetensors"), s)] if s else [], **CPU))
        for s in (0, 0.1, 1.0)
    )
    assert 1e-5 < (weak - plain).abs().max() < (strong - plain).abs().max()


def test_parts_that_do_not_belong_together_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    index = json.loads((copy / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "DDIMScheduler"]
    (copy / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"its scheduler is a DDIMScheduler; FLUX\.1 goes with a FlowMatchEuler"):
        load_pipeline(str(copy), **CPU)
    index["scheduler"] = ["diffusers", "FlowMatchEulerDiscreteScheduler"]
    (copy / "model_index.json").write_text(json.dumps(index))
    small = tiny_flux.T5Config(vocab_size=20, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    shutil.rmtree(copy / "text_encoder_2")
    tiny_flux.T5EncoderModel(small).save_pretrained(copy / "text_encoder_2")
    with pytest.raises(UserError, match=r"joint_attention_dim is 32, .* gives 16"):
        load_pipeline(str(copy), **CPU)
    with pytest.raises(UserError, match=r"FLUX\.1 can have ControlNets alone"):
        load_model(str(folder), networks=[NetworkChoice("pose", "t2i-adapter", str(folder / "vae"))], **CPU)


def test_the_demos_transformer_loads_with_its_controlnet(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = build_tokenizer(known_words(), STAND_IN.max_tokens)
    write_transformer_weights(
        tmp_path / "demo-dit",
        vae=build_vae(STAND_IN, 64),
        text_encoder=build_text_encoder(STAND_IN, tokenizer),
        tokenizer=tokenizer,
        transformer=build_transformer(STAND_IN),
        scheduler=build_flow_scheduler(),
        beside={"controlnet-pose": build_flux_controlnet(STAND_IN)},
        card="",
        training={},
    )
    control = NetworkChoice("pose", "controlnet", str(tmp_path / "demo-dit" / "controlnet-pose"))
    model = load_model(str(tmp_path / "demo-dit"), networks=[control], **CPU)
    assert model.tokenizer.model_max_length == STAND_IN.max_tokens
    assert model.native_size_px == (64, 64)
    assert len(model.backbone.layers(model.denoiser)) == sum(STAND_IN.transformer_blocks)
