"""PixArt-Sigma on disk."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from diffusers import AutoencoderKL, PixArtSigmaPipeline, PixArtTransformer2DModel
from transformers import T5EncoderModel

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.joint.files import TransformerFiles, width
from masactrl_video.model.loading.prediction import check_scheduler_class, follow_prediction
from masactrl_video.settings.names import PredictionType


class PixArtFiles(TransformerFiles):
    """The `ModelFiles` of PixArt-Sigma."""

    title = "PixArt-Sigma"
    kind = PixArtSigmaPipeline
    parts: ClassVar[Mapping[str, tuple[type[torch.nn.Module], ...]]] = {
        "transformer": (PixArtTransformer2DModel,),
        "vae": (AutoencoderKL,),
        "text_encoder": (T5EncoderModel,),
    }
    files: ClassVar[Mapping[str, Sequence[str]]] = {
        "tokenizer": ("spiece.model", "tokenizer.json"),
        "scheduler": ("scheduler_config.json",),
    }

    def shared(self, pipe: PixArtSigmaPipeline) -> Mapping[str, tuple[object, object]]:
        """Latents, and what the text encoder gives."""
        config = pipe.transformer.config
        return {
            "in_channels": (config.in_channels, pipe.vae.config.latent_channels),
            "caption_channels": (config.caption_channels, width(pipe.text_encoder)),
        }

    def check_scheduler(self, name: str, class_name: str) -> None:
        """One with a list of noise levels."""
        check_scheduler_class(name, class_name)

    def complete(
        self, name: str, pipe: PixArtSigmaPipeline, file: Path | None, wanted: PredictionType | None, dtype: torch.dtype
    ) -> None:
        """Compare the parts, and let the scheduler know what the transformer predicts."""
        self.check_parts(name, pipe)
        if pipe.transformer.use_additional_conditions:
            raise UserError(
                f"model {name!r}: its transformer reads the picture's size too, as PixArt-alpha's does, which is not "
                "supported; take a PixArt-Sigma"
            )
        follow_prediction(name, pipe, wanted, None)

    def lora_tensors(self, pipe: PixArtSigmaPipeline, file: Path, name: str, scale: float) -> Collection[str]:
        """None: diffusers loads no LoRA into this pipeline."""
        raise UserError(f"LoRA {name!r}: diffusers' pipeline of {self.title} takes no LoRAs; leave it out")
