"""Every weight of a file belongs to a layer, every layer has its weight; what does not is said by name and count."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ldm_layout
import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.controls import NetworkChoice
from masactrl_video.model.backbones.unet.load_controls import load_network
from masactrl_video.model.loading.load import load_pipeline
from masactrl_video.model.loading.taesd import load_taesd

CPU = torch.device("cpu")
ON_CPU: dict[str, Any] = {"dtype": "float32", "device": "cpu"}


def change(file: Path, **tensors: torch.Tensor) -> None:
    save_file(load_file(file) | tensors, file, metadata={"format": "pt"})


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture
def sd1_copy(sd1_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sd1_folder, tmp_path / "copy"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "sd1.safetensors"
    ldm_layout.save_checkpoint(tiny_models.sd1_pipeline(), path)
    return path


@pytest.mark.parametrize(
    ("part", "file", "kind"),
    [
        ("unet", "diffusion_pytorch_model", "UNet2DConditionModel"),
        ("vae", "diffusion_pytorch_model", "AutoencoderKL"),
        ("text_encoder", "model", "CLIPTextModel"),
    ],
)
def test_a_weight_of_no_layer_in_a_folder_is_refused(sd1_copy: Path, part: str, file: str, kind: str) -> None:
    change(sd1_copy / part / f"{file}.safetensors", **{"odd.weight": torch.zeros(2), "odd.bias": torch.zeros(2)})
    with pytest.raises(UserError, match=rf"2 weights .* no layer of its {kind}, e\.g\. odd\.bias"):
        load_pipeline(str(sd1_copy), **ON_CPU)


def test_positions_and_the_way_to_pictures_are_no_loss(sd1_copy: Path) -> None:
    more = {"position_ids": torch.zeros(1, 77), "logit_scale": torch.ones(()), "vision_model.post.bias": torch.ones(1)}
    change(sd1_copy / "text_encoder" / "model.safetensors", **more)
    load_pipeline(str(sd1_copy), **ON_CPU)


@pytest.mark.parametrize(
    ("key", "part"),
    [
        ("model.diffusion_model.input_blocks.1.0.foo.weight", "UNet2DConditionModel"),
        ("model.diffusion_model.odd", "UNet2DConditionModel"),
        ("first_stage_model.encoder.odd.bias", "AutoencoderKL"),
        ("cond_stage_model.transformer.text_model.encoder.layers.7.mlp.fc1.bias", "CLIPTextModel"),
    ],
)
def test_a_weight_of_no_layer_in_a_checkpoint_is_refused(
    checkpoint: Path, sd1_folder: Path, tmp_path: Path, key: str, part: str
) -> None:
    save_file(load_file(checkpoint) | {key: torch.zeros(2)}, tmp_path / "odd.safetensors")
    with pytest.raises(UserError, match=f"1 weight in .* no layer of its {part}, e.g. {key}"):
        load_pipeline(str(tmp_path / "odd.safetensors"), config=str(sd1_folder), **ON_CPU)


def test_what_a_training_leaves_beside_the_model_is_no_loss(
    checkpoint: Path, sd1_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [
        *("model_ema.decay", "betas", "alphas_cumprod_prev", "sqrt_recipm1_alphas_cumprod", "posterior_variance"),
        *("cond_stage_model.transformer.text_model.embeddings.position_ids", "cond_stage_model.logit_scale"),
    ]
    save_file(load_file(checkpoint) | {name: torch.zeros(1) for name in names}, tmp_path / "left.safetensors")
    load_pipeline(str(tmp_path / "left.safetensors"), config=str(sd1_folder), **ON_CPU)
    assert not caplog.records
    save_file(load_file(checkpoint) | {"control_model.odd": torch.zeros(1)}, tmp_path / "beside.safetensors")
    load_pipeline(str(tmp_path / "beside.safetensors"), config=str(sd1_folder), **ON_CPU)
    assert "1 of its tensors belong to no part of the model, e.g. control_model.odd" in caplog.text


@pytest.fixture
def controlnet(tmp_path: Path) -> Path:
    tiny_models.controlnet(tiny_models.sd1_unet()).save_pretrained(tmp_path / "net")
    return tmp_path / "net"


@pytest.mark.parametrize("as_file", [False, True])
def test_a_controlnet_union_is_refused_by_its_name(controlnet: Path, as_file: bool) -> None:
    file = controlnet / "diffusion_pytorch_model.safetensors"
    change(file, task_embedding=torch.zeros(6, 8), **{"spatial_ch_projs.weight": torch.zeros(8, 8)})
    edit(controlnet / "config.json", num_control_type=6)
    name, config = (str(file), str(controlnet)) if as_file else (str(controlnet), None)
    choice = NetworkChoice("pose", "controlnet", name, config=config)
    with pytest.raises(UserError, match=r"2 weights .*it looks like a ControlNet Union, which is not supported"):
        load_network(choice, torch.float32, CPU)


@pytest.mark.parametrize("kind", ["ControlNetUnionModel", "SparseControlNetModel", "FluxControlNetModel", None, [1]])
def test_a_controlnet_of_another_class_is_refused_by_it(controlnet: Path, kind: Any) -> None:
    edit(controlnet / "config.json", _class_name=kind)
    with pytest.raises(UserError, match=r"its config\.json names .*not ControlNetModel"):
        load_network(NetworkChoice("pose", "controlnet", str(controlnet)), torch.float32, CPU)


@pytest.mark.parametrize("spoil", [{"odd": torch.zeros(1)}, None])
def test_adapters_and_tiny_decoders_are_whole_too(tmp_path: Path, spoil: dict[str, torch.Tensor] | None) -> None:
    tiny_models.adapter(tiny_models.sd1_unet()).save_pretrained(tmp_path / "adapter")
    tiny_models.taesd().save_pretrained(tmp_path / "taesd")
    for folder in (tmp_path / "adapter", tmp_path / "taesd"):
        file = folder / "diffusion_pytorch_model.safetensors"
        tensors = load_file(file)
        kept = tensors | spoil if spoil else dict(list(tensors.items())[1:])
        save_file(kept, file, metadata={"format": "pt"})
    message = "belongs to no layer" if spoil else "1 weight is missing"
    with pytest.raises(UserError, match=message):
        load_network(NetworkChoice("pose", "t2i-adapter", str(tmp_path / "adapter")), torch.float32, CPU)
    with pytest.raises(UserError, match=message):
        load_taesd(str(tmp_path / "taesd"), tiny_models.vae(), torch.float32, CPU)


def integers(folder: Path) -> None:
    change(folder / "unet" / "diffusion_pytorch_model.safetensors", **{"conv_out.bias": torch.zeros(5).int()})


def no_tokenizer(folder: Path) -> None:
    shutil.rmtree(folder / "tokenizer")


def no_scheduler(folder: Path) -> None:
    shutil.rmtree(folder / "scheduler")


def config_of(part: str, **values: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / part / "config.json", **values)


def scheduler_of(**values: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "scheduler" / "scheduler_config.json", **values)


def index_of(**values: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "model_index.json", **values)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (integers, "it cannot be loaded|expected shape"),
        (no_tokenizer, r"its tokenizer is missing \(no vocab\.json or tokenizer\.json in"),
        (no_scheduler, "its scheduler is missing"),
        (config_of("unet", block_out_channels="wide"), "it cannot be loaded"),
        (config_of("unet", block_out_channels=[]), "it cannot be loaded"),
        (config_of("unet", down_block_types=[None]), "it cannot be loaded"),
        (config_of("unet", quantization_config={"quant_method": "bitsandbytes"}), "it cannot be loaded"),
        (config_of("text_encoder", hidden_size="many"), "it cannot be loaded"),
        (config_of("text_encoder", num_attention_heads=0), "it cannot be loaded"),
        (config_of("text_encoder", vocab_size=7), "weights of a text encoder have other shapes than its config.json"),
        (scheduler_of(beta_schedule="wiggly"), "it cannot be loaded: wiggly is not implemented"),
        (config_of("unet", _class_name="UNetMotionModel"), r"unet/config\.json names UNetMotionModel, not UNet2DCond"),
        (config_of("text_encoder", model_type="t5"), r"text_encoder/config\.json names t5, not CLIPTextModel"),
        (index_of(unet=["diffusers", "UNetMotionModel"]), "its unet is a UNetMotionModel, not a UNet2DCond"),
        (index_of(vae=["diffusers", "AutoencoderTiny"]), "its vae is a AutoencoderTiny, not a AutoencoderKL"),
        (index_of(text_encoder=["transformers", "T5EncoderModel"]), "its text_encoder is a T5EncoderModel"),
        (index_of(scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"]), "its scheduler is a FlowMatchEuler"),
        (index_of(scheduler=["diffusers", "EDMEulerScheduler"]), "its scheduler is a EDMEulerScheduler, .*EDM"),
    ],
)
def test_no_folder_ends_in_a_traceback(sd1_copy: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(sd1_copy)
    with pytest.raises(UserError, match=message) as caught:
        load_pipeline(str(sd1_copy), **ON_CPU)
    assert "\n" not in str(caught.value)


def test_a_variant_that_only_some_parts_have_is_taken_where_it_is(sd1_copy: Path) -> None:
    file = sd1_copy / "unet" / "diffusion_pytorch_model.safetensors"
    change(file, **{"conv_out.bias": torch.full((4,), 0.5)})
    file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    pipe = load_pipeline(str(sd1_copy), variant="fp16", **ON_CPU)
    assert (pipe.unet.conv_out.bias == 0.5).all()
