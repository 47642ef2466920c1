"""TAESD: decodes in the autoencoder's place, as diffusers' pipelines have it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file

from masactrl_video.errors import UserError
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.loading.taesd import load_taesd
from masactrl_video.model.sampling.latents import decode_latents, encode_picture

Save = Callable[..., str]


@pytest.fixture
def saved(tmp_path: Path) -> Save:
    """A function that saves a tiny autoencoder and returns the name of its folder."""

    def save(**changes: Any) -> str:
        tiny_models.taesd(**changes).save_pretrained(tmp_path / "taesd")
        return str(tmp_path / "taesd")

    return save


def load(name: str) -> Any:
    return load_taesd(name, tiny_models.vae(), torch.float32, torch.device("cpu"))


def test_it_decodes_as_in_diffusers_own_pipeline(saved: Save) -> None:
    pipe = tiny_models.sd1_pipeline()
    exact = DiffusionModel(pipe)
    model = DiffusionModel(pipe, preview=load(saved()))
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    assert torch.equal(encode_picture(model, picture), encode_picture(exact, picture)), "a source must stay exact"

    plain = tiny_models.sd1_pipeline()
    plain.vae = tiny_models.taesd()
    call = {"latents": torch.randn(1, 4, 8, 8), "num_inference_steps": 1}
    latents = plain("a bear", output_type="latent", **call).images
    expected = plain("a bear", output_type="np", **call).images
    assert np.abs(decode_latents(model, latents) - expected * 255).max() <= 0.51
    assert not np.array_equal(decode_latents(model, latents), decode_latents(exact, latents))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"latent_channels": 16}, "decodes latents of 16 channels to 8 times .* the model's have 4 channels"),
        ({"decoder_block_out_channels": (4,) * 3, "num_decoder_blocks": (1,) * 3}, "to 4 times .* become 8 times"),
    ],
)
def test_one_for_other_latents_is_refused(saved: Save, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        load(saved(**changes))


def test_other_folders_are_refused(saved: Save, tmp_path: Path) -> None:
    tiny_models.vae().save_pretrained(tmp_path / "vae")
    with pytest.raises(UserError, match="names AutoencoderKL, not AutoencoderTiny"):
        load(str(tmp_path / "vae"))
    with pytest.raises(UserError, match="no such file or folder"):
        load(str(tmp_path / "none"))
    file = Path(saved()) / "diffusion_pytorch_model.safetensors"
    with pytest.raises(UserError, match="give its folder"):
        load(str(file))
    tensors = load_file(file)
    tensors.pop("decoder.layers.0.weight")
    save_file(tensors, file)
    with pytest.raises(UserError, match="1 weight is missing"):
        load(str(file.parent))
