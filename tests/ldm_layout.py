"""Networks of diffusers written in the original (LDM) layout: the way back of diffusers' single-file loading."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

Tensors = dict[str, torch.Tensor]

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
EMBEDDINGS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "controlnet_cond_embedding.conv_in": "input_hint_block.0",
    "controlnet_cond_embedding.conv_out": "input_hint_block.14",
    "controlnet_mid_block": "middle_block_out.0",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}


def save_checkpoint(pipe: Any, path: Path) -> None:
    """Write a whole SD-1.x or SDXL pipeline as one checkpoint file."""
    out = unet_keys(pipe.unet, "model.diffusion_model.") | vae_keys(pipe.vae)
    if hasattr(pipe, "text_encoder_2"):
        out |= _prefixed(pipe.text_encoder, "conditioner.embedders.0.transformer.text_model.")
        out |= open_clip_keys(pipe.text_encoder_2)
    else:
        out |= _prefixed(pipe.text_encoder, "cond_stage_model.transformer.text_model.")
    save_file({key: tensor.contiguous() for key, tensor in out.items()}, path)


def unet_keys(unet: torch.nn.Module, prefix: str) -> Tensors:
    """Weights of a UNet or ControlNet."""
    return {prefix + _unet_key(unet, key): tensor for key, tensor in unet.state_dict().items()}


def _unet_key(unet: Any, key: str) -> str:
    module, _, kind = key.rpartition(".")
    if module in EMBEDDINGS:
        return f"{EMBEDDINGS[module]}.{kind}"
    if match := re.fullmatch(r"controlnet_cond_embedding\.blocks\.(\d+)\.(.*)", key):
        return f"input_hint_block.{2 * int(match[1]) + 2}.{match[2]}"
    if match := re.fullmatch(r"controlnet_down_blocks\.(\d+)\.(.*)", key):
        return f"zero_convs.{match[1]}.0.{match[2]}"
    match = re.fullmatch(r"(down|up|mid)_blocks?\.(?:(\d+)\.)?(\w+?)s\.(\d+)\.(.*)", key)
    assert match, key
    place, block, part, index, rest = match[1], int(match[2] or 0), match[3], int(match[4]), match[5]
    if part == "resnet":
        name = next(name for name in RESNET if rest.startswith(name))
        rest = rest.replace(name, RESNET[name])
    layers = unet.config.layers_per_block + 1
    if place == "mid":
        return f"middle_block.{2 * index if part == 'resnet' else 1}.{rest}"
    if part == "downsampler":
        return f"input_blocks.{(block + 1) * layers}.0.op.{rest.removeprefix('conv.')}"
    if part == "upsampler":
        position = 2 if hasattr(unet.up_blocks[block], "attentions") else 1
        return f"output_blocks.{(block + 1) * layers - 1}.{position}.{rest}"
    start = 1 + block * layers if place == "down" else block * layers
    side = "input" if place == "down" else "output"
    return f"{side}_blocks.{start + index}.{0 if part == 'resnet' else 1}.{rest}"


def vae_keys(vae: Any) -> Tensors:
    """Weights of the autoencoder."""
    out = {}
    last = len(vae.config.block_out_channels) - 1
    for key, tensor in vae.state_dict().items():
        new = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        new = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", new)
        new = re.sub(r"down_blocks\.(\d)", r"down.\1", new)
        new = re.sub(r"up_blocks\.(\d)", lambda m: f"up.{last - int(m[1])}", new)
        new = new.replace(".resnets.", ".block.").replace("samplers.0", "sample")
        if "mid_block.attentions.0." in new:
            head, name = new.split("mid_block.attentions.0.")
            module, _, kind = name.rpartition(".")
            new = f"{head}mid.attn_1.{VAE_ATTENTION[module]}.{kind}"
            if tensor.ndim == 2:
                tensor = tensor[:, :, None, None]
        out[f"first_stage_model.{new}"] = tensor
    return out


def open_clip_keys(encoder: torch.nn.Module) -> Tensors:
    """Weights of SDXL's second text encoder, whose query, key and value are one matrix."""
    prefix, state = "conditioner.embedders.1.model.", encoder.state_dict()
    inner = "text_model." if any(key.startswith("text_model.") for key in state) else ""
    state = {key.removeprefix(inner): tensor for key, tensor in state.items()}
    out = {
        "token_embedding.weight": state.pop("embeddings.token_embedding.weight"),
        "positional_embedding": state.pop("embeddings.position_embedding.weight"),
        "text_projection": state.pop("text_projection.weight").T,
        "ln_final.weight": state.pop("final_layer_norm.weight"),
        "ln_final.bias": state.pop("final_layer_norm.bias"),
    }
    for key, tensor in state.items():
        new = key.replace("encoder.layers.", "transformer.resblocks.").replace("self_attn.", "attn.")
        for ours, theirs in OPEN_CLIP.items():
            new = new.replace(ours, theirs)
        if "q_proj." in new:
            parts = [state[key.replace("q_proj", f"{which}_proj")] for which in "qkv"]
            out[new.replace("q_proj.", "in_proj_")] = torch.cat(parts)
        elif "k_proj." not in new and "v_proj." not in new:
            out[new] = tensor
    return {prefix + key: tensor for key, tensor in out.items()}


def _prefixed(encoder: torch.nn.Module, prefix: str) -> Tensors:
    return {prefix + key.removeprefix("text_model."): tensor for key, tensor in encoder.state_dict().items()}
