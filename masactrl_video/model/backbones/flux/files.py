"""FLUX.1 on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from diffusers import AutoencoderKL, FluxPipeline, FluxTransformer2DModel
from transformers import CLIPTextModel, T5EncoderModel

from masactrl_video.model.backbones.joint.files import FlowFiles, width
from masactrl_video.model.backbones.joint.packing import PATCH


class FluxFiles(FlowFiles):
    """The `ModelFiles` of FLUX.1."""

    title = "FLUX.1"
    kind = FluxPipeline
    parts: ClassVar[Mapping[str, tuple[type[torch.nn.Module], ...]]] = {
        "transformer": (FluxTransformer2DModel,),
        "vae": (AutoencoderKL,),
        "text_encoder": (CLIPTextModel,),
        "text_encoder_2": (T5EncoderModel, CLIPTextModel),  # the demo's is of the first one's kind
    }
    files: ClassVar[Mapping[str, Sequence[str]]] = {
        "tokenizer": ("vocab.json", "tokenizer.json"),
        "tokenizer_2": ("spiece.model", "tokenizer.json"),
        "scheduler": ("scheduler_config.json",),
    }
    lora_parts = ("transformer", "text_encoder")
    of_others = (
        (r"^lora_te3_|^text_encoder_3\.|^unet\.|^lora_unet_(down|mid|up)_", "an adapter for networks that FLUX lacks"),
    )

    def is_in(self, keys: Sequence[str]) -> bool:
        """By the names of its blocks, which Chroma and FLUX.2 have too."""
        if any(key.startswith(("distilled_guidance_layer.", "double_stream_modulation_img.")) for key in keys):
            return False
        return any(key.startswith(("double_blocks.", "single_transformer_blocks.")) for key in keys)

    def shared(self, pipe: FluxPipeline) -> Mapping[str, tuple[object, object]]:
        """Latents, and what the text encoders give."""
        config = pipe.transformer.config
        text, pooled = (width(encoder) for encoder in (pipe.text_encoder_2, pipe.text_encoder))
        return {
            "in_channels": (config.in_channels, pipe.vae.config.latent_channels * PATCH**2),
            "joint_attention_dim": (config.joint_attention_dim, text),
            "pooled_projection_dim": (config.pooled_projection_dim, pooled),
        }
