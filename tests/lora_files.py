"""LoRA files made by peft for the tiny models."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

RANK = 2


def save_lora(pipe: Any, path: Path, *, text_encoder: bool = False, seed: int = 0) -> Path:
    """Write a LoRA with random weights for the attention layers of a pipeline, in diffusers' layout."""
    torch.manual_seed(seed)
    layers = {"unet_lora_layers": _layers(pipe.unet, ["to_q", "to_k", "to_v", "to_out.0"])}
    if text_encoder:
        layers["text_encoder_lora_layers"] = _layers(pipe.text_encoder, ["q_proj", "k_proj", "v_proj", "out_proj"])
    pipe.save_lora_weights(path.parent, weight_name=path.name, **layers)
    return path


def _layers(network: Any, modules: list[str]) -> dict[str, torch.Tensor]:
    network = copy.deepcopy(network)
    network.add_adapter(LoraConfig(r=RANK, target_modules=modules, init_lora_weights=False), "made")
    layers: dict[str, torch.Tensor] = get_peft_model_state_dict(network, adapter_name="made")
    return layers


def save_as_kohya(lora: Path, path: Path, alpha: float) -> Path:
    """Write the same LoRA in kohya's layout, where `alpha` over the rank is its own strength."""
    out = {}
    for key, tensor in load_file(lora).items():
        match = re.fullmatch(r"(unet|text_encoder)\.(.*)\.lora_([AB])\.weight", key)
        assert match, key
        prefix = "lora_unet_" if match[1] == "unet" else "lora_te_text_model_"
        name = prefix + match[2].removeprefix("text_model.").replace(".", "_")
        out[f"{name}.lora_{'down' if match[3] == 'A' else 'up'}.weight"] = tensor
        out[f"{name}.alpha"] = torch.tensor(alpha)
    save_file(out, path)
    return path
