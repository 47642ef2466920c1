"""Every family of transformers from a folder, a transformer in one file, and with a LoRA; presets by real shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import lora_files
import pytest
import torch
from accelerate import init_empty_weights
from safetensors.torch import save_file
from tiny_families import FAMILIES, Family, in_own_memory

from masactrl_video.attention.plan import plan_control
from masactrl_video.errors import UserError
from masactrl_video.model.loading.load import load_pipeline
from masactrl_video.model.loading.lora import LoraFile
from masactrl_video.settings.presets import read_preset

CPU: Any = {"dtype": "float32", "device": "cpu"}
each = pytest.mark.parametrize(
    "family", [pytest.param(family, id=family.name) for family in FAMILIES if family.name != "pixart"]
)


def picture(family: Family, pipe: Any) -> torch.Tensor:
    pipe.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    found: torch.Tensor = family.plain(pipe, "a bear", None, family.unguided_scale, (64, 64), 1, noise)
    return found


@each
def test_a_transformer_in_one_file_takes_the_rest_from_a_folder_and_a_lora_changes_it(
    family: Family, tmp_path: Path
) -> None:
    pipe = family.make()
    pipe.save_pretrained(tmp_path / "model")
    layers = lora_files._layers(pipe.transformer, ["to_q", "to_k", "to_v"])
    pipe.save_lora_weights(tmp_path, weight_name="lora.safetensors", transformer_lora_layers=layers)
    with torch.no_grad():
        last = [parameter for parameter in pipe.transformer.parameters() if parameter.ndim == 2][-1]
        last.mul_(2)
    file = tmp_path / "fine-tuned.safetensors"
    save_file(pipe.transformer.state_dict(), file)
    changed = picture(family, pipe)
    loaded = in_own_memory(load_pipeline(str(file), config=str(tmp_path / "model"), **CPU))
    assert torch.equal(picture(family, loaded), changed)
    with pytest.raises(UserError, match="the file holds the transformer alone; give as config the folder"):
        load_pipeline(str(file), **CPU)
    plain, strong = (
        picture(
            family,
            load_pipeline(
                str(tmp_path / "model"), loras=[LoraFile(str(tmp_path / "lora.safetensors"), s)] if s else [], **CPU
            ),
        )
        for s in (0, 1.0)
    )
    assert (plain - changed).abs().max() > 1e-3
    assert (strong - plain).abs().max() > 1e-4


REAL: dict[str, tuple[str, dict[str, Any], int]] = {
    "sd3-medium": ("SD3Transformer2DModel", {"num_layers": 24, "num_attention_heads": 24}, 12),
    "sd35-large": ("SD3Transformer2DModel", {"num_layers": 38, "num_attention_heads": 38, "qk_norm": "rms_norm"}, 19),
    "sd35-medium": (
        "SD3Transformer2DModel",
        {"num_layers": 24, "num_attention_heads": 24, "dual_attention_layers": tuple(range(13)), "qk_norm": "rms_norm"},
        14,
    ),
    "z-image-turbo": ("ZImageTransformer2DModel", {}, 12),
    "z-image": ("ZImageTransformer2DModel", {}, 12),
    "qwen-image": ("QwenImageTransformer2DModel", {}, 30),
    "wan21-t2i": (
        "WanTransformer3DModel",
        {"num_attention_heads": 12, "attention_head_dim": 128, "ffn_dim": 8960, "num_layers": 30, "text_dim": 4096},
        11,
    ),
    "flux2-dev": ("Flux2Transformer2DModel", {}, 21),
    "flux2-klein-4b": (
        "Flux2Transformer2DModel",
        {
            "num_layers": 5,
            "num_single_layers": 20,
            "num_attention_heads": 24,
            "joint_attention_dim": 7680,
            "guidance_embeds": False,
        },
        9,
    ),
    "pixart-sigma": ("PixArtTransformer2DModel", {"caption_channels": 4096}, 10),
}
"""Preset → class and arguments of its real transformer, and how many layers are controlled."""


@pytest.mark.parametrize("preset", REAL)
def test_a_preset_controls_layers_that_its_model_has(preset: str) -> None:
    name, arguments, controlled = REAL[preset]
    with init_empty_weights():
        network = getattr(diffusers, name)(**arguments)
    settings = read_preset(preset)
    plan = plan_control(
        network,
        settings["num_inference_steps"],
        masa_step=settings["masa_step"],
        masa_layer=settings["masa_layer"],
        mask_grid_divisor=settings["mask_grid_divisor"],
    )
    assert len(plan.layers) == controlled
    assert len(plan.steps) == settings["num_inference_steps"] - settings["masa_step"] > 0
