"""What names a network: its weights, its configuration, and what is patched into it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lora_files
import numpy as np
import pytest
import tiny_models
import torch

from masactrl_video.model.backbones.unet.backbone import UNetBackbone
from masactrl_video.sources.identity import network_identity
from masactrl_video.storage.fingerprint import fingerprint

UNET = UNetBackbone()


def name_of(network: torch.nn.Module) -> str:
    return fingerprint(network_identity(network, UNET))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loras")
    for seed in (0, 1):
        lora_files.save_lora(tiny_models.sd1_pipeline(), folder / f"{seed}.safetensors", seed=seed)
    return folder


def with_loras(folder: Path, *scales: float) -> Any:
    pipe = tiny_models.sd1_pipeline()
    names = [f"lora_{index}" for index in range(len(scales))]
    for index, name in enumerate(names):
        pipe.load_lora_weights(str(folder), weight_name=f"{index}.safetensors", adapter_name=name)
    if names:
        pipe.set_adapters(names, adapter_weights=list(scales))
    return pipe


def test_the_same_network_has_the_same_name() -> None:
    assert name_of(tiny_models.sd1_unet()) == name_of(tiny_models.sd1_unet())


def test_a_lora_and_its_scale_make_another_name(folder: Path) -> None:
    names = [name_of(with_loras(folder, *scales).unet) for scales in ((), (1.0,), (0.5,), (0.0,), (1.0, 1.0))]
    assert len(set(names)) == len(names)
    assert name_of(with_loras(folder, 0.5).unet) == names[2]


def test_which_loras_are_active_makes_another_name(folder: Path) -> None:
    pipe = with_loras(folder, 1.0, 1.0)
    names = [name_of(pipe.unet)]
    pipe.set_adapters(["lora_0"], adapter_weights=[1.0])
    names.append(name_of(pipe.unet))
    pipe.disable_lora()
    names.append(name_of(pipe.unet))
    pipe.enable_lora()
    assert name_of(pipe.unet) == names[1]
    pipe.fuse_lora()
    names.append(name_of(pipe.unet))
    assert len(set(names)) == len(names)


def test_free_u_makes_another_name_until_it_is_off() -> None:
    pipe = tiny_models.sd1_pipeline()
    plain = name_of(pipe.unet)
    pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    first = name_of(pipe.unet)
    pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.5)
    assert len({plain, first, name_of(pipe.unet)}) == 3
    pipe.disable_freeu()
    assert name_of(pipe.unet) == plain


def test_where_a_model_lies_does_not_matter(tmp_path: Path) -> None:
    unet = tiny_models.sd1_unet()
    unet.save_pretrained(tmp_path / "here")
    assert name_of(type(unet).from_pretrained(tmp_path / "here")) == name_of(unet)


def test_a_configuration_that_weights_do_not_show_makes_another_name() -> None:
    unet = tiny_models.sd1_unet()
    plain = name_of(unet)
    unet.register_to_config(center_input_sample=True)
    assert name_of(unet) != plain


def test_long_arrays_in_a_configuration_are_told_apart_to_their_middle() -> None:
    class Network(torch.nn.Module):
        def __init__(self, betas: Any) -> None:
            super().__init__()
            self.config = {"betas": betas}

    betas = np.linspace(0, 1, 5000)
    other = betas.copy()
    other[2500] += 1e-3  # its printed form leaves the middle out
    assert name_of(Network(betas)) == name_of(Network(betas.copy())) != name_of(Network(other))


def test_a_value_that_would_print_its_address_is_refused() -> None:
    class Network(torch.nn.Module):
        config = {"callback": object()}  # noqa: RUF012

    with pytest.raises(TypeError, match="no fingerprint for a object"):
        network_identity(Network(), UNET)


def test_an_identity_is_json(folder: Path) -> None:
    identity = network_identity(with_loras(folder, 0.5).unet, UNET)
    assert json.loads(json.dumps(identity)) == identity
