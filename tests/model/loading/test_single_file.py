"""Checkpoints of one file in the original layout."""

from __future__ import annotations

from pathlib import Path

import ldm_layout
import pytest
import tiny_models
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from same_weights import assert_same_pipeline, assert_same_weights
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.controls import NetworkChoice
from masactrl_video.model.loading.load import load_model, load_pipeline


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "sd1.safetensors"
    ldm_layout.save_checkpoint(tiny_models.sd1_pipeline(), path)
    return path


def test_an_sd1_checkpoint_gives_the_same_weights(checkpoint: Path, sd1_folder: Path) -> None:
    pipe = load_pipeline(str(checkpoint), config=str(sd1_folder), dtype="float32", device="cpu")
    assert_same_pipeline(pipe, tiny_models.sd1_pipeline())
    assert pipe.safety_checker is None
    assert pipe.scheduler.config.beta_schedule == "scaled_linear"


def test_an_sdxl_checkpoint_gives_the_same_weights(tmp_path: Path) -> None:
    pipe = tiny_models.sdxl_pipeline()
    config = pipe.text_encoder_2.config.to_dict() | {"hidden_size": 24, "projection_dim": 24}
    pipe.text_encoder_2 = CLIPTextModelWithProjection(CLIPTextConfig(**config)).eval()  # told apart by its width
    widths = {"cross_attention_dim": 16 + 24, "projection_class_embeddings_input_dim": 6 * 8 + 24}
    pipe.register_modules(unet=UNet2DConditionModel.from_config({**pipe.unet.config, **widths}).eval())
    pipe.save_pretrained(tmp_path / "folder")
    ldm_layout.save_checkpoint(pipe, tmp_path / "sdxl.safetensors")
    config = str(tmp_path / "folder")
    loaded = load_pipeline(str(tmp_path / "sdxl.safetensors"), config=config, dtype="float32", device="cpu")
    assert_same_pipeline(loaded, pipe)


def test_without_network_a_checkpoint_needs_the_configurations_of_a_folder(checkpoint: Path) -> None:
    with pytest.raises(UserError, match="give as config a local diffusers folder"):
        load_pipeline(str(checkpoint))
    with pytest.raises(UserError, match="config 'org/name': it is neither a local folder nor"):
        load_pipeline(str(checkpoint), config="org/name")


def test_configurations_of_another_architecture_are_refused(checkpoint: Path, sdxl_folder: Path) -> None:
    with pytest.raises(UserError, match=r"it is a StableDiffusionPipeline, but config .* is a StableDiffusionXLPipe"):
        load_pipeline(str(checkpoint), config=str(sdxl_folder))
    with pytest.raises(UserError, match="it cannot be loaded"):
        load_pipeline(str(checkpoint), config="demo")  # of other widths


def test_a_weight_that_is_missing_is_named(checkpoint: Path, sd1_folder: Path, tmp_path: Path) -> None:
    tensors = load_file(checkpoint)
    del tensors["model.diffusion_model.out.2.bias"]
    save_file(tensors, tmp_path / "short.safetensors")
    with pytest.raises(UserError, match="weights are missing in its files"):
        load_pipeline(str(tmp_path / "short.safetensors"), config=str(sd1_folder))


def test_a_checkpoint_without_a_text_weight_is_refused(checkpoint: Path, sd1_folder: Path, tmp_path: Path) -> None:
    tensors = load_file(checkpoint)
    del tensors["cond_stage_model.transformer.text_model.final_layer_norm.bias"]
    save_file(tensors, tmp_path / "short.safetensors")
    with pytest.raises(UserError, match="weight is missing in its files"):
        load_pipeline(str(tmp_path / "short.safetensors"), config=str(sd1_folder))


def test_a_checkpoint_without_a_vae_is_refused_by_it(checkpoint: Path, sd1_folder: Path, tmp_path: Path) -> None:
    tensors = {key: value for key, value in load_file(checkpoint).items() if not key.startswith("first_stage_model.")}
    save_file(tensors, tmp_path / "short.safetensors")
    with pytest.raises(UserError, match=r"its VAE is missing .*take the whole one"):
        load_pipeline(str(tmp_path / "short.safetensors"), config=str(sd1_folder))


def test_a_file_that_is_no_checkpoint_is_refused(sd1_folder: Path, tmp_path: Path) -> None:
    pickled = tmp_path / "pickled.safetensors"
    pickled.write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(UserError, match="it cannot be loaded"):
        load_pipeline(str(pickled), config=str(sd1_folder))
    unet = sd1_folder / "unet" / "diffusion_pytorch_model.safetensors"
    with pytest.raises(UserError, match="no whole Stable Diffusion"):
        load_pipeline(str(unet), config=str(sd1_folder))
    unet_alone = tmp_path / "unet.safetensors"
    save_file(ldm_layout.unet_keys(tiny_models.sd1_unet(), "model.diffusion_model."), unet_alone)
    with pytest.raises(UserError, match="no whole Stable Diffusion"):
        load_pipeline(str(unet_alone), config=str(sd1_folder))


def test_a_controlnet_of_one_file_gives_the_same_weights(sd1_folder: Path, tmp_path: Path) -> None:
    net = tiny_models.controlnet(tiny_models.sd1_unet())
    net.save_pretrained(tmp_path / "folder")
    original, diffusers = tmp_path / "original.safetensors", tmp_path / "diffusers.safetensors"
    save_file(ldm_layout.unet_keys(net, "control_model."), original)
    save_file(net.state_dict(), diffusers)
    config = str(tmp_path / "folder")
    choices = [NetworkChoice("pose", "controlnet", str(path), config=config) for path in (original, diffusers)]
    for loaded in load_model(str(sd1_folder), networks=choices, dtype="float32", device="cpu").networks:
        assert_same_weights(loaded.module, net)


def test_a_controlnet_of_one_file_needs_a_configuration(sd1_folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    save_file(ldm_layout.unet_keys(tiny_models.controlnet(tiny_models.sd1_unet()), "control_model."), file)
    with pytest.raises(UserError, match="give as config a local folder of a ControlNet"):
        load_model(str(sd1_folder), networks=[NetworkChoice("pose", "controlnet", str(file))])
    with pytest.raises(UserError, match=r"no config\.json"):
        load_model(str(sd1_folder), networks=[NetworkChoice("pose", "controlnet", str(file), config=str(sd1_folder))])
    with pytest.raises(UserError, match="holds no ControlNet"):
        load_model(str(sd1_folder), networks=[NetworkChoice("pose", "controlnet", str(checkpoint))])
    with pytest.raises(UserError, match="only ControlNets come as one file"):
        load_model(str(sd1_folder), networks=[NetworkChoice("pose", "t2i-adapter", str(file))])
