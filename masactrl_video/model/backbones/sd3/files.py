"""Stable Diffusion 3 and 3.5 on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel, StableDiffusion3Pipeline
from transformers import CLIPTextModelWithProjection, T5EncoderModel

from masactrl_video.model.backbones.joint.files import FlowFiles, width


class SD3Files(FlowFiles):
    """The `ModelFiles` of Stable Diffusion 3 and 3.5."""

    title = "Stable Diffusion 3"
    kind = StableDiffusion3Pipeline
    parts: ClassVar[Mapping[str, tuple[type[torch.nn.Module], ...]]] = {
        "transformer": (SD3Transformer2DModel,),
        "vae": (AutoencoderKL,),
        "text_encoder": (CLIPTextModelWithProjection,),
        "text_encoder_2": (CLIPTextModelWithProjection,),
        "text_encoder_3": (T5EncoderModel,),
    }
    optional = ("text_encoder_3",)  # the largest; many leave it out
    files: ClassVar[Mapping[str, Sequence[str]]] = {
        "tokenizer": ("vocab.json", "tokenizer.json"),
        "tokenizer_2": ("vocab.json", "tokenizer.json"),
        "scheduler": ("scheduler_config.json",),
    }
    lora_parts = ("transformer", "text_encoder", "text_encoder_2")
    of_others = ((r"^unet\.|single_transformer_blocks|single_blocks", "an adapter for networks that SD3 lacks"),)

    def is_in(self, keys: Sequence[str]) -> bool:
        """By its authors' names of the blocks, or by diffusers' and the table of positions."""
        is_joint = any(key.startswith("transformer_blocks.0.attn.add_q_proj") for key in keys)
        return any(key.startswith("joint_blocks.") for key in keys) or (is_joint and "pos_embed.pos_embed" in keys)

    def shared(self, pipe: StableDiffusion3Pipeline) -> Mapping[str, tuple[object, object]]:
        """Latents, and what the text encoders give."""
        config, pooled = pipe.transformer.config, (pipe.text_encoder, pipe.text_encoder_2)
        given: dict[str, tuple[object, object]] = {
            "in_channels": (config.in_channels, pipe.vae.config.latent_channels),
            "pooled_projection_dim": (
                config.pooled_projection_dim,
                sum(encoder.config.projection_dim for encoder in pooled),
            ),
        }
        if pipe.text_encoder_3 is not None:
            given["joint_attention_dim"] = (config.joint_attention_dim, width(pipe.text_encoder_3))
        return given
