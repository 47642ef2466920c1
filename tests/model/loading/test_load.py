"""Models from folders, the demo and the cache of downloads; what is no usable model is refused in one line."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from same_weights import assert_same_pipeline, assert_same_weights

from masactrl_video.demo.folder import WEIGHTS
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.controls import NetworkChoice
from masactrl_video.model.loading.load import load_model, load_pipeline

ON_CPU: dict[str, Any] = {"dtype": "float32", "device": "cpu"}


@pytest.fixture
def sd1_copy(sd1_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sd1_folder, tmp_path / "copy"))


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_folder_gives_the_same_weights(sd1_folder: Path, sdxl_folder: Path) -> None:
    assert_same_pipeline(load_pipeline(str(sd1_folder), **ON_CPU), tiny_models.sd1_pipeline())
    assert_same_pipeline(load_pipeline(str(sdxl_folder), **ON_CPU), tiny_models.sdxl_pipeline())


def test_a_loaded_model_is_ready_for_inference_without_safety_checker(sd1_folder: Path) -> None:
    pipe = load_pipeline(str(sd1_folder))
    assert not any(part.training for part in (pipe.unet, pipe.vae, pipe.text_encoder))
    assert pipe.safety_checker is None
    assert pipe.unet.dtype == (torch.float16 if torch.cuda.is_available() else torch.float32)


def test_loading_says_nothing(sd1_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_pipeline(str(sd1_folder))
    assert capfd.readouterr() == ("", "")


def test_the_libraries_speak_as_before_afterwards(sd1_folder: Path) -> None:
    names = ("diffusers", "transformers", "huggingface_hub")
    before = [logging.getLogger(name).level for name in names]
    load_pipeline(str(sd1_folder))
    with pytest.raises(UserError):
        load_pipeline("org/name")
    assert [logging.getLogger(name).level for name in names] == before


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_dtype_is_everywhere(sd1_folder: Path, dtype: Any) -> None:
    pipe = load_pipeline(str(sd1_folder), dtype=dtype, device="cpu")
    for network in (pipe.unet, pipe.vae, pipe.text_encoder):
        assert {parameter.dtype for parameter in network.parameters()} == {getattr(torch, dtype)}


@pytest.mark.parametrize(("force_upcast", "expected"), [(True, torch.float32), (False, torch.float16)])
def test_sdxls_vae_stays_in_float32_where_it_asks_for_it(
    sdxl_folder: Path, tmp_path: Path, force_upcast: bool, expected: torch.dtype
) -> None:
    folder = Path(shutil.copytree(sdxl_folder, tmp_path / "xl"))
    edit(folder / "vae" / "config.json", force_upcast=force_upcast)
    pipe = load_pipeline(str(folder), dtype="float16", device="cpu")
    assert pipe.vae.dtype == expected
    assert pipe.unet.dtype == torch.float16


def test_a_variant_is_taken_when_it_is_asked_for(tmp_path: Path) -> None:
    tiny_models.sd1_pipeline().to(torch.float16).save_pretrained(tmp_path, variant="fp16")
    pipe = load_pipeline(str(tmp_path), variant="fp16", dtype="float32", device="cpu")
    assert_same_pipeline(pipe, tiny_models.sd1_pipeline().to(torch.float16).to(torch.float32))
    with pytest.raises(UserError, match=r"no weights without a variant; give variant 'fp16'"):
        load_pipeline(str(tmp_path))


def test_a_variant_that_is_not_there_is_an_error(sd1_folder: Path) -> None:
    with pytest.raises(UserError, match="fp16"):
        load_pipeline(str(sd1_folder), variant="fp16")


def test_the_demo_is_the_model_that_ships() -> None:
    choices = [
        NetworkChoice(condition, kind, f"demo/{kind}-{condition}")
        for kind in ("controlnet", "t2i-adapter")
        for condition in ("pose", "canny")
    ]
    model = load_model("demo", networks=choices, dtype="float32", device="cpu")
    weights = load_file(WEIGHTS / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(model.unet.state_dict()[key], tensor.float()) for key, tensor in weights.items())
    assert [network.is_adapter for network in model.networks] == [False, False, True, True]


def test_a_local_folder_called_demo_is_written_with_a_dot(
    sd1_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(sd1_folder, tmp_path / "demo")
    monkeypatch.chdir(tmp_path)
    assert_same_weights(load_pipeline("./demo", **ON_CPU).unet, tiny_models.sd1_unet())
    with pytest.raises(UserError, match=r"the demo has demo, demo/controlnet-pose.*written \./demo/other"):
        load_pipeline("demo/other")


def test_a_downloaded_model_needs_no_network(sd1_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--org--name"
    shutil.copytree(sd1_folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert_same_pipeline(load_pipeline("org/name", **ON_CPU), tiny_models.sd1_pipeline())
    with pytest.raises(UserError, match="neither a local folder nor among the downloads"):
        load_pipeline("org/name", revision="other")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("org/name", r"neither a local folder nor among the downloads.*`hf download org/name`.*local folder.*demo"),
        ("nowhere", "no such file or folder"),
        ("./nowhere/at-all", "no such file or folder"),
        ("a/b/c", "no such file or folder"),
        ("org/name.safetensors", "no such file or folder"),
        ("model.ckpt", "pickles can run code"),
        ("org/model.BIN", "pickles can run code"),
    ],
)
def test_a_model_that_is_not_to_be_had_is_one_clear_line(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_pipeline(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"revision": "main"}, "revision is for hub ids"),
        ({"config": "other"}, "config is for a single"),
        ({"dtype": "int8"}, "give float32, float16, bfloat16"),
        ({"device": "gpu"}, "this machine has .*cpu"),
        ({"device": "meta"}, "this machine has .*cpu"),
        ({"device": "cpu:7"}, "this machine has .*cpu"),
    ],
)
def test_arguments_that_mean_nothing_here_are_refused(
    sd1_folder: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_pipeline(str(sd1_folder), **arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_an_error(sd1_folder: Path) -> None:
    with pytest.raises(UserError, match="device: got 'cuda'; this machine has"):
        load_pipeline(str(sd1_folder), device="cuda")


def as_pickles(folder: Path) -> None:
    for file in list(folder.rglob("*.safetensors")):
        torch.save(load_file(file), file.with_suffix(".bin"))
        file.unlink()


def without_index(folder: Path) -> None:
    (folder / "model_index.json").unlink()


def kandinsky(folder: Path) -> None:
    edit(folder / "model_index.json", _class_name="KandinskyPipeline")


def own_code(folder: Path) -> None:
    edit(folder / "model_index.json", _class_name=["pipeline", "OwnPipeline"])


def broken_index(folder: Path) -> None:
    (folder / "model_index.json").write_text("{")


def a_unet_weight_missing(folder: Path) -> None:
    drop(folder / "unet" / "diffusion_pytorch_model.safetensors", "conv_in.bias")


def a_text_weight_missing(folder: Path) -> None:
    drop(folder / "text_encoder" / "model.safetensors", "embeddings.token_embedding.weight")


def cut_short(folder: Path) -> None:
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def drop(file: Path, ending: str) -> None:
    tensors = load_file(file)
    (key,) = [key for key in tensors if key.endswith(ending)]
    del tensors[key]
    save_file(tensors, file, metadata={"format": "pt"})


def no_vae(folder: Path) -> None:
    shutil.rmtree(folder / "vae")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (as_pickles, r"pickles can run code.*from_pretrained.*save_pretrained"),
        (without_index, "no model_index.json"),
        (kandinsky, r"its pipeline is KandinskyPipeline; Stable Diffusion 1\.x, 2\.x and XL, FLUX\.1, .* are possible"),
        (own_code, "its pipeline is .*OwnPipeline"),
        (broken_index, "it cannot be loaded"),
        (a_unet_weight_missing, r"1 weight is missing in its files, e\.g\. conv_in\.bias"),
        (a_text_weight_missing, "1 weight is missing in its files"),
        (cut_short, "it cannot be loaded"),
        (no_vae, "no .safetensors file in .*vae"),
    ],
)
def test_a_folder_that_is_no_whole_model_is_refused(
    sd1_copy: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(sd1_copy)
    with pytest.raises(UserError, match=message) as caught:
        load_pipeline(str(sd1_copy))
    assert "\n" not in str(caught.value)


def save_with_unet(folder: Path, **changes: Any) -> None:
    pipe = tiny_models.sd1_pipeline()
    config = {key: value for key, value in pipe.unet.config.items() if not key.startswith("_")}
    pipe.unet = type(pipe.unet)(**config | changes)
    pipe.save_pretrained(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_channels": 9}, "reads 9 channels where latents have 4: .*inpainting"),
        (
            {"down_block_types": ("DownBlock2D",) * 4, "up_block_types": ("UpBlock2D",) * 4, "mid_block_type": None},
            "no cross-attention",
        ),
        ({"time_cond_proj_dim": 8}, "needs more than a prompt"),
        ({"num_class_embeds": 5}, "needs more than a prompt"),
    ],
)
def test_a_unet_of_another_kind_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    save_with_unet(tmp_path, **changes)
    with pytest.raises(UserError, match=message):
        load_pipeline(str(tmp_path))


def test_a_loaded_model_makes_the_picture_of_plain_diffusers(sd1_folder: Path) -> None:
    def picture(pipe: Any) -> Any:
        pipe.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(0)
        return pipe("a bear", num_inference_steps=2, height=64, width=64, output_type="np", generator=generator).images

    plain = StableDiffusionPipeline.from_pretrained(sd1_folder, safety_checker=None)
    ours = load_pipeline(str(sd1_folder), dtype="float32", device="cpu")
    assert (picture(ours) == picture(plain)).all()
