"""Transformers of diffusers with their weights named as the authors name them, which is how ComfyUI reads them."""

from __future__ import annotations

import re
from typing import Any

import torch

Tensors = dict[str, torch.Tensor]

FLUX = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "proj_out": "final_layer.linear",
}
DOUBLE = {
    "norm1.linear": "img_mod.lin",
    "norm1_context.linear": "txt_mod.lin",
    "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj",
    "ff.net.0.proj": "img_mlp.0",
    "ff.net.2": "img_mlp.2",
    "ff_context.net.0.proj": "txt_mlp.0",
    "ff_context.net.2": "txt_mlp.2",
}
NORMS = {
    "attn.norm_q": "img_attn.norm.query_norm",
    "attn.norm_k": "img_attn.norm.key_norm",
    "attn.norm_added_q": "txt_attn.norm.query_norm",
    "attn.norm_added_k": "txt_attn.norm.key_norm",
}


def flux_keys(network: torch.nn.Module) -> Tensors:
    """Weights of FLUX.1 as Black Forest Labs name them."""
    state, out = network.state_dict(), {}
    for key, tensor in state.items():
        module, _, kind = key.rpartition(".")
        if module in FLUX:
            out[f"{FLUX[module]}.{kind}"] = tensor
        elif module == "norm_out.linear":  # scale and shift change places
            out[f"final_layer.adaLN_modulation.1.{kind}"] = torch.cat(tensor.chunk(2)[::-1])
        elif match := re.fullmatch(r"transformer_blocks\.(\d+)\.(.*)", module):
            block, rest = f"double_blocks.{match[1]}", match[2]
            if rest in DOUBLE:
                out[f"{block}.{DOUBLE[rest]}.{kind}"] = tensor
            elif rest in NORMS:
                out[f"{block}.{NORMS[rest]}.scale"] = tensor
            elif rest in ("attn.to_q", "attn.add_q_proj"):
                names = [rest.replace("_q", f"_{each}") for each in "qkv"]
                parts = [state[f"transformer_blocks.{match[1]}.{name}.{kind}"] for name in names]
                out[f"{block}.{'img' if 'to_q' in rest else 'txt'}_attn.qkv.{kind}"] = torch.cat(parts)
        elif match := re.fullmatch(r"single_transformer_blocks\.(\d+)\.(.*)", module):
            block, rest = f"single_blocks.{match[1]}", match[2]
            if rest == "proj_out":
                out[f"{block}.linear2.{kind}"] = tensor
            elif rest == "norm.linear":
                out[f"{block}.modulation.lin.{kind}"] = tensor
            elif rest in ("attn.norm_q", "attn.norm_k"):
                out[f"{block}.norm.{'query' if rest.endswith('q') else 'key'}_norm.scale"] = tensor
            elif rest == "proj_mlp":
                names = [*(f"attn.to_{each}" for each in "qkv"), "proj_mlp"]
                parts = [state[f"single_transformer_blocks.{match[1]}.{name}.{kind}"] for name in names]
                out[f"{block}.linear1.{kind}"] = torch.cat(parts)
    return out


def qwen_keys(network: torch.nn.Module) -> Tensors:
    """Weights of Qwen-Image, whose authors name them as diffusers does."""
    return dict(network.state_dict())


def zimage_keys(network: torch.nn.Module) -> Tensors:
    """Weights of Z-Image as its authors name them."""
    names = {"norm_q": "q_norm", "norm_k": "k_norm", "to_out.0": "out"}
    state, out = network.state_dict(), {}
    for key, tensor in state.items():
        key = re.sub(r"^all_(x_embedder|final_layer)\.2-1\.", r"\1.", key)
        match = re.fullmatch(r"(.*\.attention)\.(.*)\.weight", key)
        if match is None:
            out[key] = tensor
        elif match[2] in names:
            out[f"{match[1]}.{names[match[2]]}.weight"] = tensor
        elif match[2] == "to_q":
            out[f"{match[1]}.qkv.weight"] = torch.cat([state[f"{match[1]}.to_{each}.weight"] for each in "qkv"])
    return out


def config_of(network: Any) -> dict[str, Any]:
    """What ComfyUI reads off the weights of a whole model, for a tiny one."""
    own = network.config
    if hasattr(network, "single_transformer_blocks"):
        return {
            "image_model": "flux", "in_channels": own.in_channels // 4, "out_channels": own.in_channels // 4,
            "vec_in_dim": own.pooled_projection_dim, "context_in_dim": own.joint_attention_dim,
            "hidden_size": network.inner_dim, "num_heads": own.num_attention_heads, "depth": own.num_layers,
            "depth_single_blocks": own.num_single_layers, "axes_dim": list(own.axes_dims_rope), "theta": 10000,
            "patch_size": 2, "mlp_ratio": 4.0, "qkv_bias": True, "guidance_embed": own.guidance_embeds,
        }  # fmt: skip
    if hasattr(network, "transformer_blocks"):
        return {
            "image_model": "qwen_image", "in_channels": own.in_channels, "out_channels": own.out_channels,
            "num_layers": own.num_layers, "attention_head_dim": own.attention_head_dim,
            "num_attention_heads": own.num_attention_heads, "joint_attention_dim": own.joint_attention_dim,
            "axes_dims_rope": tuple(own.axes_dims_rope),
        }  # fmt: skip
    return {
        "image_model": "lumina2", "patch_size": 2, "in_channels": own.in_channels, "dim": own.dim,
        "cap_feat_dim": own.cap_feat_dim, "n_layers": own.n_layers, "n_refiner_layers": own.n_refiner_layers,
        "qk_norm": True, "n_heads": own.n_heads, "n_kv_heads": own.n_kv_heads, "axes_dims": list(own.axes_dims),
        "axes_lens": list(own.axes_lens), "rope_theta": 256.0, "ffn_dim_multiplier": 8.0 / 3.0,
        "z_image_modulation": True, "time_scale": 1000.0, "pad_tokens_multiple": 32,
    }  # fmt: skip
