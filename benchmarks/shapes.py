"""Stable Diffusion 1.5 and XL in their real shapes, with random weights: as large and as slow as the real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

CLIP_L: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
}
"""Text encoder of SD-1.x, and the first of SDXL."""

CLIP_BIG_G: dict[str, Any] = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}
"""Second text encoder of SDXL."""

UNET_SD15: dict[str, Any] = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,  # the number of heads
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
}
UNET_SDXL: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20),
    "transformer_layers_per_block": (1, 2, 10),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
}
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}


@dataclass(frozen=True)
class Family:
    """A kind of model."""

    unet: dict[str, Any]
    up_block_types: tuple[str, ...]
    vae: dict[str, Any]
    self_attention_layers: int
    """What the real UNet has, written down here and not read off, so that a count can be held against it."""
    masa_layer: int
    """First controlled layer of the official examples."""


FAMILIES = {
    "SD-1.5": Family(
        UNET_SD15,
        ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        {**VAE, "sample_size": 512},
        self_attention_layers=16,
        masa_layer=10,
    ),
    "SDXL": Family(
        UNET_SDXL,
        ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        {**VAE, "sample_size": 1024, "scaling_factor": 0.13025},
        self_attention_layers=70,
        masa_layer=44,
    ),
}


def with_random_weights(build: Callable[[], Any], dtype: torch.dtype, std: float = 0.02) -> Any:
    """A network whose usual initialisation is skipped: norms of 1, biases of 0, all else normal."""
    with init_empty_weights():
        module = build()
    generator = torch.Generator().manual_seed(0)
    for owner in module.modules():
        for name, parameter in list(owner.named_parameters(recurse=False)):
            values = torch.empty(parameter.shape, dtype=dtype)
            if parameter.ndim == 1 and name != "class_embedding":
                values.fill_(float(name == "weight"))
            else:
                values.normal_(std=std, generator=generator)
            setattr(owner, name, torch.nn.Parameter(values, requires_grad=False))
    return module.eval()


def build_pipeline(name: str, tokenizer_folder: Path, dtype: torch.dtype) -> Any:
    """A pipeline with a DDIM scheduler; text encoders of the tokenizer's size."""
    family = FAMILIES[name]
    tokenizer = CLIPTokenizer.from_pretrained(str(tokenizer_folder))
    text = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": tokenizer.model_max_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    parts: dict[str, Any] = {
        "vae": with_random_weights(lambda: AutoencoderKL(**family.vae), dtype),
        "text_encoder": with_random_weights(lambda: CLIPTextModel(CLIPTextConfig(**CLIP_L, **text)), dtype),
        "tokenizer": tokenizer,
        "unet": with_random_weights(
            lambda: UNet2DConditionModel(**family.unet, up_block_types=family.up_block_types), dtype
        ),
        "scheduler": DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
    }
    if name == "SDXL":
        config = CLIPTextConfig(**CLIP_BIG_G, **text)
        second = with_random_weights(lambda: CLIPTextModelWithProjection(config), dtype)
        return StableDiffusionXLPipeline(**parts, text_encoder_2=second, tokenizer_2=tokenizer, add_watermarker=False)
    return StableDiffusionPipeline(**parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def build_controlnet(name: str, dtype: torch.dtype) -> ControlNetModel:
    """The ControlNet of the family's UNet, its zero convolutions woken up."""
    config = {key: value for key, value in FAMILIES[name].unet.items() if key != "sample_size"}
    controlnet: ControlNetModel = with_random_weights(lambda: ControlNetModel(**config), dtype)
    return controlnet
