"""Z-Image on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from diffusers import AutoencoderKL, ZImagePipeline, ZImageTransformer2DModel
from transformers import Qwen3ForCausalLM, Qwen3Model

from masactrl_video.model.backbones.joint.files import FlowFiles, width


class ZImageFiles(FlowFiles):
    """The `ModelFiles` of Z-Image."""

    title = "Z-Image"
    kind = ZImagePipeline
    parts: ClassVar[Mapping[str, tuple[type[torch.nn.Module], ...]]] = {
        "transformer": (ZImageTransformer2DModel,),
        "vae": (AutoencoderKL,),
        "text_encoder": (Qwen3Model, Qwen3ForCausalLM),
    }
    files: ClassVar[Mapping[str, Sequence[str]]] = {
        "tokenizer": ("vocab.json", "tokenizer.json"),
        "scheduler": ("scheduler_config.json",),
    }

    def is_in(self, keys: Sequence[str]) -> bool:
        """By the tokens that fill up a picture, which Lumina's kin lacks."""
        return "x_pad_token" in keys

    def shared(self, pipe: ZImagePipeline) -> Mapping[str, tuple[object, object]]:
        """Latents, and what the text encoder gives."""
        config = pipe.transformer.config
        return {
            "in_channels": (config.in_channels, pipe.vae.config.latent_channels),
            "cap_feat_dim": (config.cap_feat_dim, width(pipe.text_encoder)),
        }
