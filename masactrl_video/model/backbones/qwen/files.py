"""Qwen-Image on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from diffusers import AutoencoderKLQwenImage, QwenImagePipeline, QwenImageTransformer2DModel
from transformers import Qwen2_5_VLForConditionalGeneration

from masactrl_video.model.backbones.joint.files import FlowFiles, width
from masactrl_video.model.backbones.joint.packing import PATCH


class QwenFiles(FlowFiles):
    """The `ModelFiles` of Qwen-Image."""

    title = "Qwen-Image"
    kind = QwenImagePipeline
    parts: ClassVar[Mapping[str, tuple[type[torch.nn.Module], ...]]] = {
        "transformer": (QwenImageTransformer2DModel,),
        "vae": (AutoencoderKLQwenImage,),
        "text_encoder": (Qwen2_5_VLForConditionalGeneration,),
    }
    files: ClassVar[Mapping[str, Sequence[str]]] = {
        "tokenizer": ("vocab.json", "tokenizer.json"),
        "scheduler": ("scheduler_config.json",),
    }

    def is_in(self, keys: Sequence[str]) -> bool:
        """By the modulation of its blocks."""
        return any(key.startswith("transformer_blocks.0.img_mod.") for key in keys)

    def shared(self, pipe: QwenImagePipeline) -> Mapping[str, tuple[object, object]]:
        """Latents, and what the text encoder gives."""
        config = pipe.transformer.config
        return {
            "in_channels": (config.in_channels, pipe.vae.config.z_dim * PATCH**2),
            "joint_attention_dim": (config.joint_attention_dim, width(pipe.text_encoder)),
        }
