"""FLUX.1 on disk: parts of a folder, a transformer in one file, LoRA files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, FluxPipeline, FluxTransformer2DModel
from safetensors import safe_open
from transformers import CLIPTextModel, T5EncoderModel

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.files import ModelFiles
from masactrl_video.model.backbones.flux.packing import PATCH
from masactrl_video.model.loading.lora_formats import check_format
from masactrl_video.settings.names import PredictionType

_NETWORKS: dict[str, type[torch.nn.Module]] = {
    "transformer": FluxTransformer2DModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": T5EncoderModel,
}
_BESIDE = {
    "tokenizer": ("vocab.json", "tokenizer.json"),
    "tokenizer_2": ("spiece.model", "tokenizer.json"),
    "scheduler": ("scheduler_config.json",),
}
_SCHEDULER = "FlowMatchEulerDiscreteScheduler"
_OF_OTHERS = (
    (r"^lora_te3_|^text_encoder_3\.|^unet\.|^lora_unet_(down|mid|up)_", "an adapter for networks that FLUX lacks"),
)


class FluxFiles(ModelFiles):
    """The `ModelFiles` of FLUX.1."""

    lora_parts = ("transformer", "text_encoder")

    def pipeline(self, class_name: str) -> type[DiffusionPipeline]:
        """The only one."""
        only: type[DiffusionPipeline] = FluxPipeline
        return only

    def networks(self, pipeline: type[DiffusionPipeline]) -> Mapping[str, type[torch.nn.Module]]:
        """Transformer, VAE and two text encoders."""
        return _NETWORKS

    def networks_in(
        self, pipeline: type[DiffusionPipeline], index: Mapping[str, object]
    ) -> Mapping[str, type[torch.nn.Module]]:
        """The second text encoder may be of the first one's kind, as the demo's is."""
        small = index.get("text_encoder_2") == ["transformers", CLIPTextModel.__name__]
        return {**_NETWORKS, "text_encoder_2": CLIPTextModel} if small else _NETWORKS

    def beside(self, pipeline: type[DiffusionPipeline]) -> Mapping[str, Sequence[str]]:
        """Tokenizers and scheduler."""
        return _BESIDE

    def check_scheduler(self, name: str, class_name: str) -> None:
        """Euler's on a flow."""
        if class_name != _SCHEDULER:
            raise UserError(f"model {name!r}: its scheduler is a {class_name}; FLUX.1 goes with a {_SCHEDULER}")

    def pipeline_in(self, name: str, path: Path) -> str | None:
        """By the names of the blocks, in its authors' or diffusers' layout."""
        with safe_open(path, framework="numpy") as file:  # reads the header only
            keys = [key.removeprefix("model.diffusion_model.") for key in file.keys()]  # noqa: SIM118, it is no mapping
        is_flux = any(key.startswith(("double_blocks.", "single_transformer_blocks.")) for key in keys)
        return FluxPipeline.__name__ if is_flux else None

    def unused(self, path: Path, pipe: FluxPipeline) -> Mapping[str, Sequence[str]]:
        """None: a file holds one part, and that is looked at before."""
        return {}

    def part_in_file(self, pipeline: type[DiffusionPipeline]) -> tuple[str, type[torch.nn.Module]] | None:
        """A file holds the transformer; the rest is taken from a folder."""
        return "transformer", FluxTransformer2DModel

    def complete(
        self, name: str, pipe: FluxPipeline, file: Path | None, wanted: PredictionType | None, dtype: torch.dtype
    ) -> None:
        """Compare the parts."""
        if wanted is not None:
            raise UserError(f"prediction_type {wanted}: FLUX.1 predicts a flow's velocity alone; leave it out")
        config = pipe.transformer.config
        text, pooled = (_width(encoder) for encoder in (pipe.text_encoder_2, pipe.text_encoder))
        given = {
            "in_channels": (config.in_channels, pipe.vae.config.latent_channels * PATCH**2),
            "joint_attention_dim": (config.joint_attention_dim, text),
            "pooled_projection_dim": (config.pooled_projection_dim, pooled),
        }
        for entry, (own, other) in given.items():
            if own != other:
                raise UserError(
                    f"model {name!r}: its parts are of different models: the transformer's {entry} is {own}, the part "
                    f"before it gives {other}"
                )

    def lora_tensors(self, pipe: FluxPipeline, file: Path, name: str, scale: float) -> Collection[str]:
        """In diffusers', kohya's or the authors' layout."""
        with safe_open(file, framework="numpy") as tensors:
            check_format(name, list(tensors.keys()), scale, _OF_OTHERS)
        read = pipe.lora_state_dict(
            str(file.parent), weight_name=file.name, use_safetensors=True, local_files_only=True
        )
        return list(read[0] if isinstance(read, tuple) else read)


def _width(encoder: Any) -> int:
    """Channels of a text encoder's states."""
    config = encoder.config
    return int(config.d_model if hasattr(config, "d_model") else config.hidden_size)
