"""FLUX.2 on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from diffusers import (
    AutoencoderKLFlux2,
    DiffusionPipeline,
    Flux2KleinKVPipeline,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
)
from safetensors import safe_open
from transformers import Mistral3ForConditionalGeneration, Qwen3ForCausalLM

from masactrl_video.model.backbones.joint.files import FlowFiles, width
from masactrl_video.model.backbones.joint.packing import PATCH

SIGN = "double_stream_modulation_img."
"""Beginning of the names of weights that FLUX.2 has and FLUX.1 has not."""

_READ = 3
"""Layers of the text encoder whose states a pipeline puts side by side."""


class Flux2Files(FlowFiles):
    """The `ModelFiles` of FLUX.2; klein's pipeline has another text encoder than dev's."""

    title = "FLUX.2"
    kind = Flux2KleinPipeline
    parts: ClassVar[Mapping[str, tuple[type[torch.nn.Module], ...]]] = {
        "transformer": (Flux2Transformer2DModel,),
        "vae": (AutoencoderKLFlux2,),
        "text_encoder": (Qwen3ForCausalLM,),
    }
    files: ClassVar[Mapping[str, Sequence[str]]] = {
        "tokenizer": ("vocab.json", "tokenizer.json"),
        "scheduler": ("scheduler_config.json",),
    }
    of_others = ((r"^unet\.|^lora_te[12]_", "an adapter for networks that FLUX.2 lacks"),)

    def pipeline(self, class_name: str) -> type[DiffusionPipeline]:
        """dev's, klein's or klein-kv's."""
        kinds: tuple[type[DiffusionPipeline], ...] = (Flux2Pipeline, Flux2KleinPipeline, Flux2KleinKVPipeline)
        return next(kind for kind in kinds if kind.__name__ == class_name)

    def networks(self, pipeline: type[DiffusionPipeline]) -> Mapping[str, type[torch.nn.Module]]:
        """Each of its only class."""
        encoder = Mistral3ForConditionalGeneration if pipeline is Flux2Pipeline else Qwen3ForCausalLM
        return {**super().networks(pipeline), "text_encoder": encoder}

    def networks_in(
        self, pipeline: type[DiffusionPipeline], index: Mapping[str, object]
    ) -> Mapping[str, type[torch.nn.Module]]:
        """The same for every folder."""
        return self.networks(pipeline)

    def is_in(self, keys: Sequence[str]) -> bool:
        """By the modulation that all its blocks share."""
        return any(key.startswith(SIGN) for key in keys)

    def pipeline_in(self, name: str, path: Path) -> str | None:
        """dev's transformer reads a guidance scale, klein's does not; klein-kv's cannot be told from klein's."""
        if super().pipeline_in(name, path) is None:
            return None
        with safe_open(path, framework="numpy") as file:  # reads the header only
            reads_scale = any("guidance_in." in key or "guidance_embedder." in key for key in file.keys())  # noqa: SIM118
        return "Flux2Pipeline" if reads_scale else "Flux2KleinPipeline"

    def shared(
        self, pipe: Flux2Pipeline | Flux2KleinPipeline | Flux2KleinKVPipeline
    ) -> Mapping[str, tuple[object, object]]:
        """Latents, and what the text encoder gives."""
        config = pipe.transformer.config
        return {
            "in_channels": (config.in_channels, pipe.vae.config.latent_channels * PATCH**2),
            "joint_attention_dim": (config.joint_attention_dim, width(pipe.text_encoder) * _READ),
        }
