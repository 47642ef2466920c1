"""ControlNets and T2I-Adapters from folders, and whether they belong to the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from same_weights import assert_same_weights

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.controls import NetworkChoice
from masactrl_video.model.loading.load import load_model


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks")
    for name, unet in (("sd1", tiny_models.sd1_unet()), ("sdxl", tiny_models.sdxl_unet())):
        tiny_models.controlnet(unet).save_pretrained(folder / f"{name}-controlnet")
        tiny_models.adapter(unet).save_pretrained(folder / f"{name}-t2i-adapter")
    wide = UNet2DConditionModel(**sd1_config() | {"cross_attention_dim": 2 * tiny_models.TEXT_WIDTH})
    ControlNetModel.from_unet(wide).save_pretrained(folder / "sd2-controlnet")
    tiny_models.controlnet(tiny_models.sd1_unet()).save_pretrained(folder / "pickle", safe_serialization=False)
    return folder


def sd1_config() -> dict[str, Any]:
    return {key: value for key, value in tiny_models.sd1_unet().config.items() if not key.startswith("_")}


def load(model: Path, *choices: NetworkChoice) -> Any:
    return load_model(str(model), networks=choices, dtype="float32", device="cpu").networks


def test_networks_come_with_their_weight_and_range(networks: Path, sd1_folder: Path) -> None:
    unet = tiny_models.sd1_unet()
    net, adapter = load(
        sd1_folder,
        NetworkChoice("pose", "controlnet", str(networks / "sd1-controlnet"), scale=0.5, start=0.1, end=0.9),
        NetworkChoice("canny", "t2i-adapter", str(networks / "sd1-t2i-adapter")),
    )
    assert_same_weights(net.module, tiny_models.controlnet(unet))
    assert_same_weights(adapter.module, tiny_models.adapter(unet))
    assert (net.name, net.scale, net.start, net.end, net.is_adapter) == ("pose", 0.5, 0.1, 0.9, False)
    assert (adapter.name, adapter.scale, adapter.start, adapter.end, adapter.is_adapter) == ("canny", 1, 0, 1, True)
    assert not net.module.training


def test_networks_of_sdxl_fit_sdxl(networks: Path, sdxl_folder: Path) -> None:
    kinds: tuple[Any, ...] = ("controlnet", "t2i-adapter")
    loaded = load(sdxl_folder, *(NetworkChoice("pose", kind, str(networks / f"sdxl-{kind}")) for kind in kinds))
    assert len(loaded) == 2


def test_a_network_takes_the_models_dtype(networks: Path, sd1_folder: Path) -> None:
    choice = NetworkChoice("pose", "controlnet", str(networks / "sd1-controlnet"))
    model = load_model(str(sd1_folder), networks=[choice], dtype="bfloat16", device="cpu")
    assert model.networks[0].module.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("controlnet", "sd2-controlnet", "cross_attention_dim is 32, the model's 16"),
        ("controlnet", "sdxl-controlnet", "made for another kind of model"),
        ("t2i-adapter", "sdxl-t2i-adapter", "made for another kind of model"),
        ("t2i-adapter", "sd1-controlnet", "its config.json names ControlNetModel, not T2IAdapter"),
        ("controlnet", "sd1-t2i-adapter", "its config.json names T2IAdapter, not ControlNetModel"),
        ("controlnet", "pickle", "pickles can run code"),
        ("controlnet", "", "no config.json"),
        ("controlnet", "missing", "no such file or folder"),
    ],
)
def test_a_network_that_does_not_belong_is_refused(
    networks: Path, sd1_folder: Path, kind: Any, name: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load(sd1_folder, NetworkChoice("pose", kind, str(networks / name)))


def test_sd1_networks_are_refused_for_sdxl(networks: Path, sdxl_folder: Path) -> None:
    kinds: tuple[Any, ...] = ("controlnet", "t2i-adapter")
    for kind in kinds:
        with pytest.raises(UserError, match=r"made for another kind of model.*take one for SDXL"):
            load(sdxl_folder, NetworkChoice("pose", kind, str(networks / f"sd1-{kind}")))


def test_a_network_that_is_not_downloaded_is_named(sd1_folder: Path) -> None:
    with pytest.raises(UserError, match=r"controlnet 'org/net': .*`hf download org/net`"):
        load(sd1_folder, NetworkChoice("pose", "controlnet", "org/net"))


def test_a_mistyped_network_is_told_before_the_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"controlnet '\./net': no such file"):
        load(tmp_path, NetworkChoice("pose", "controlnet", "./net"))
