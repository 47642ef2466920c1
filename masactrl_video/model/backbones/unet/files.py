"""Stable Diffusion 1.x, 2.x and XL on disk: parts of a folder, one file in the original (LDM) layout, LoRA files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors import safe_open
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.files import ModelFiles
from masactrl_video.model.backbones.unet.parts import check_parts
from masactrl_video.model.backbones.unet.unused import unused_in_checkpoint
from masactrl_video.model.loading.lora_formats import check_format
from masactrl_video.model.loading.prediction import check_scheduler_class, follow_prediction, read_markers
from masactrl_video.settings.names import PredictionType

_PIPELINES: dict[str, type[DiffusionPipeline]] = {
    "StableDiffusionPipeline": StableDiffusionPipeline,
    "StableDiffusionXLPipeline": StableDiffusionXLPipeline,
}
_NETWORKS: dict[str, type[torch.nn.Module]] = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
}
_BESIDE = {
    "tokenizer": ("vocab.json", "tokenizer.json"),
    "tokenizer_2": ("vocab.json", "tokenizer.json"),
    "scheduler": ("scheduler_config.json",),
}
OF_OTHERS = (
    (
        r"^lora_te3_|^text_encoder_3\.|^lora_(transformer|prior)_|^transformer\.",
        "an adapter for networks that SD and SDXL lack",
    ),
)
"""Beginnings of tensors' names in LoRAs for other families."""


class UNetFiles(ModelFiles):
    """The `ModelFiles` of Stable Diffusion's UNets."""

    lora_parts = ("unet", "text_encoder", "text_encoder_2")

    def pipeline(self, class_name: str) -> type[DiffusionPipeline]:
        """By its name."""
        return _PIPELINES[class_name]

    def networks(self, pipeline: type[DiffusionPipeline]) -> Mapping[str, type[torch.nn.Module]]:
        """UNet, VAE, and one or two text encoders."""
        return {part: kind for part, kind in _NETWORKS.items() if part in pipeline.__init__.__annotations__}

    def beside(self, pipeline: type[DiffusionPipeline]) -> Mapping[str, Sequence[str]]:
        """Tokenizers and scheduler."""
        return {part: files for part, files in _BESIDE.items() if part in pipeline.__init__.__annotations__}

    def check_scheduler(self, name: str, class_name: str) -> None:
        """One with a list of noise levels."""
        check_scheduler_class(name, class_name)

    def pipeline_in(self, name: str, path: Path) -> str | None:
        """By the beginnings of the tensors' names."""
        with safe_open(path, framework="numpy") as file:  # reads the header only
            prefixes = {".".join(key.split(".")[:3]) for key in file.keys()}  # noqa: SIM118, it is no mapping
        read_markers(name, path)  # what cannot be denoised is told before gigabytes are loaded
        if not any(prefix.startswith("model.diffusion_model.") for prefix in prefixes):
            return None
        texts = any(prefix.startswith(("cond_stage_model.", "conditioner.embedders.1")) for prefix in prefixes)
        if texts and not any(prefix.startswith(("first_stage_model.", "vae.")) for prefix in prefixes):
            raise UserError(
                f"model {name!r}: its VAE is missing (no tensor is called first_stage_model…): it is a part of a "
                "checkpoint; take the whole one"
            )
        if "conditioner.embedders.1" in prefixes:  # SDXL has two text encoders, its refiner only number 0
            return "StableDiffusionXLPipeline"
        if any(prefix.startswith("cond_stage_model.") for prefix in prefixes):
            return "StableDiffusionPipeline"
        return None

    def unused(self, path: Path, pipe: StableDiffusionPipeline) -> Mapping[str, Sequence[str]]:
        """Of a whole checkpoint (see `unused_in_checkpoint`)."""
        return unused_in_checkpoint(path, pipe)

    def complete(
        self,
        name: str,
        pipe: StableDiffusionPipeline,
        file: Path | None,
        wanted: PredictionType | None,
        dtype: torch.dtype,
    ) -> None:
        """Compare the parts, and let the scheduler know what the UNet predicts."""
        check_parts(name, pipe)
        follow_prediction(name, pipe, wanted, None if file is None else read_markers(name, file))
        if isinstance(pipe, StableDiffusionXLPipeline) and pipe.vae.config.force_upcast:
            pipe.vae.to(torch.float32 if dtype == torch.float16 else dtype)  # it overflows in float16

    def lora_tensors(self, pipe: StableDiffusionPipeline, file: Path, name: str, scale: float) -> Collection[str]:
        """In kohya's or diffusers' layout."""
        with safe_open(file, framework="numpy") as tensors:
            check_format(name, list(tensors.keys()), scale, OF_OTHERS)
        read, *_ = pipe.lora_state_dict(
            str(file.parent),
            unet_config=pipe.unet.config,
            weight_name=file.name,
            use_safetensors=True,
            local_files_only=True,
        )
        return list(read)
