"""LoRA files: they change the picture by their scale, and belong to the model or are refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import lora_files
import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file

from masactrl_video.errors import UserError
from masactrl_video.model.loading.load import load_pipeline
from masactrl_video.model.loading.lora import LoraFile


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loras")
    first = lora_files.save_lora(tiny_models.sd1_pipeline(), folder / "first.safetensors", text_encoder=True)
    lora_files.save_lora(tiny_models.sd1_pipeline(), folder / "second.safetensors", seed=1)
    lora_files.save_lora(tiny_models.sdxl_pipeline(), folder / "sdxl.safetensors")
    lora_files.save_as_kohya(first, folder / "kohya.safetensors", alpha=2.0 * lora_files.RANK)
    tensors = load_file(first)
    unet = {key: tensor for key, tensor in tensors.items() if key.startswith("unet")}
    variations = {
        "text": {key: tensor for key, tensor in tensors.items() if key not in unet},
        "flux": {key.replace("unet", "transformer"): tensor for key, tensor in unet.items()},
        "other": {key.replace("attentions", "layers"): tensor for key, tensor in unet.items()},
        "part": {key.replace("down_blocks.0", "down_blocks.9"): tensor for key, tensor in tensors.items()},
    }
    for name, changed in variations.items():
        save_file(changed, folder / f"{name}.safetensors")
    return folder


@pytest.fixture(scope="module")
def picture(sd1_folder: Path, folder: Path) -> Callable[..., torch.Tensor]:
    """A function that makes the latents of a picture under LoRAs, given as file name and scale."""

    @cache
    def made(scales: tuple[tuple[str, float], ...]) -> torch.Tensor:
        loras = [LoraFile(str(folder / f"{name}.safetensors"), scale) for name, scale in scales]
        pipe = load_pipeline(str(sd1_folder), loras=loras, dtype="float32", device="cpu")
        pipe.set_progress_bar_config(disable=True)
        noise = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(0))
        latents: torch.Tensor = pipe("a bear", num_inference_steps=2, latents=noise, output_type="latent").images
        return latents

    return lambda **scales: made(tuple(scales.items()))


def test_a_lora_changes_the_picture_by_its_scale(picture: Callable[..., torch.Tensor]) -> None:
    plain, weak, strong = picture(), picture(first=0.1), picture(first=1.0)
    assert 1e-4 < (weak - plain).abs().max() < (strong - plain).abs().max()


def test_scale_0_changes_nothing(picture: Callable[..., torch.Tensor]) -> None:
    assert torch.equal(picture(first=0.0), picture())
    assert torch.equal(picture(first=0.0, second=0.7), picture(second=0.7))


@pytest.mark.long
def test_several_loras_act_together_each_with_its_scale(picture: Callable[..., torch.Tensor]) -> None:
    both = picture(first=0.3, second=0.6)
    for other in (picture(first=0.3), picture(second=0.6), picture(first=0.6, second=0.3)):
        assert (both - other).abs().max() > 1e-4
    assert (both - picture(second=0.6, first=0.3)).abs().max() < 1e-5


def test_a_lora_of_the_text_encoder_alone_acts(picture: Callable[..., torch.Tensor]) -> None:
    assert (picture(text=1.0) - picture()).abs().max() > 1e-6


def test_kohyas_layout_is_the_same_lora_times_alpha_over_rank(picture: Callable[..., torch.Tensor]) -> None:
    assert (picture(kohya=0.25) - picture(first=0.5)).abs().max() < 1e-5


def test_a_lora_takes_the_models_dtype(sd1_folder: Path, folder: Path) -> None:
    lora = LoraFile(str(folder / "first.safetensors"))
    pipe = load_pipeline(str(sd1_folder), loras=[lora], dtype="bfloat16", device="cpu")
    for network in (pipe.unet, pipe.text_encoder):
        assert {parameter.dtype for parameter in network.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("name", ["sdxl", "flux", "other"])
def test_a_lora_of_another_model_is_refused(sd1_folder: Path, folder: Path, name: str) -> None:
    path = str(folder / f"{name}.safetensors")
    with pytest.raises(UserError, match=f"LoRA .*{name}") as caught:
        load_pipeline(str(sd1_folder), loras=[LoraFile(path)])
    assert "\n" not in str(caught.value)


def test_tensors_without_a_layer_are_told(sd1_folder: Path, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    in_file = load_file(folder / "part.safetensors")
    without = sum("down_blocks.9" in key for key in in_file)
    load_pipeline(str(sd1_folder), loras=[LoraFile(str(folder / "part.safetensors"))])
    assert f"{without} of its {len(in_file)} tensors belong to no layer" in caplog.text


@pytest.mark.parametrize("name", ["lora.pt", "lora.bin", "missing.safetensors", "org/name", "."])
def test_what_is_no_safetensors_file_is_refused(sd1_folder: Path, name: str) -> None:
    with pytest.raises(UserError, match="LoRA"):
        load_pipeline(str(sd1_folder), loras=[LoraFile(name)])


def test_a_file_that_is_no_lora_is_refused(sd1_folder: Path) -> None:
    vae = sd1_folder / "vae" / "diffusion_pytorch_model.safetensors"
    with pytest.raises(UserError, match="it is no LoRA, or one of an unknown format"):
        load_pipeline(str(sd1_folder), loras=[LoraFile(str(vae))])
