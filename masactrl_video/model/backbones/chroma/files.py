"""Chroma on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from diffusers import AutoencoderKL, ChromaPipeline, ChromaTransformer2DModel
from transformers import T5EncoderModel

from masactrl_video.model.backbones.joint.files import FlowFiles, width
from masactrl_video.model.backbones.joint.packing import PATCH

SIGN = "distilled_guidance_layer."
"""Beginning of the names of weights that Chroma has and FLUX.1 has not."""


class ChromaFiles(FlowFiles):
    """The `ModelFiles` of Chroma."""

    title = "Chroma"
    kind = ChromaPipeline
    parts: ClassVar[Mapping[str, tuple[type[torch.nn.Module], ...]]] = {
        "transformer": (ChromaTransformer2DModel,),
        "vae": (AutoencoderKL,),
        "text_encoder": (T5EncoderModel,),
    }
    files: ClassVar[Mapping[str, Sequence[str]]] = {
        "tokenizer": ("spiece.model", "tokenizer.json"),
        "scheduler": ("scheduler_config.json",),
    }

    def is_in(self, keys: Sequence[str]) -> bool:
        """By the network that makes its modulations."""
        return any(key.startswith(SIGN) for key in keys)

    def shared(self, pipe: ChromaPipeline) -> Mapping[str, tuple[object, object]]:
        """Latents, and what the text encoder gives."""
        config = pipe.transformer.config
        return {
            "in_channels": (config.in_channels, pipe.vae.config.latent_channels * PATCH**2),
            "joint_attention_dim": (config.joint_attention_dim, width(pipe.text_encoder)),
        }
