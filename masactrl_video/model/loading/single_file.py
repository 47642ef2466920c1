"""One `.safetensors` file in the original (LDM) layout, as most community checkpoints come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled
from safetensors import safe_open

from masactrl_video.errors import UserError
from masactrl_video.model.loading.checks import pipeline_class
from masactrl_video.model.loading.hub import fetch_configs
from masactrl_video.model.loading.location import local_path
from masactrl_video.model.loading.unused import unused_in_checkpoint
from masactrl_video.model.loading.weights import refuse_unused


def load_single_file(name: str, path: Path, config: str | None, dtype: torch.dtype) -> Any:
    """Load a whole Stable Diffusion 1.x, 2.x or XL from one file.

    Args:
        config: local folder or hub id of a diffusers model of the same architecture; else diffusers asks the hub.

    Raises:
        UserError: the file holds something else, or the configurations are not to be had.
    """
    pipeline = _pipeline_of(name, path)
    folder = _config_folder(name, config, pipeline) if config else None
    try:
        pipe = pipeline.from_single_file(
            str(path),
            config=str(folder) if folder else None,
            torch_dtype=dtype,
            local_files_only=folder is not None,
            safety_checker=None,
            feature_extractor=None,
        )
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError) as error:
        raise UserError(
            f"model {name!r}: a single file holds only weights, and the hub cannot be reached for the rest; give as "
            "config a local diffusers folder of the same architecture, whose configurations and tokenizer are taken"
        ) from error
    for part, unused in unused_in_checkpoint(path, pipe).items():
        refuse_unused("model", name, type(getattr(pipe, part)).__name__, unused)
    return pipe


def _pipeline_of(name: str, path: Path) -> Any:
    with safe_open(path, framework="numpy") as file:  # reads the header only
        prefixes = {".".join(key.split(".")[:3]) for key in file.keys()}  # noqa: SIM118, it is no mapping
    if any(prefix.startswith("model.diffusion_model.") for prefix in prefixes):
        texts = any(prefix.startswith(("cond_stage_model.", "conditioner.embedders.1")) for prefix in prefixes)
        if texts and not any(prefix.startswith(("first_stage_model.", "vae.")) for prefix in prefixes):
            raise UserError(
                f"model {name!r}: its VAE is missing (no tensor is called first_stage_model…): it is a part of a "
                "checkpoint; take the whole one"
            )
        if "conditioner.embedders.1" in prefixes:  # SDXL has two text encoders, its refiner only number 0
            return StableDiffusionXLPipeline
        if any(prefix.startswith("cond_stage_model.") for prefix in prefixes):
            return StableDiffusionPipeline
    raise UserError(
        f"model {name!r}: it holds no whole Stable Diffusion 1.x, 2.x or XL in the original layout, which has a UNet, "
        f"a VAE and a text encoder; its tensors are called {min(prefixes, default='nothing')}…"
    )


def _config_folder(name: str, config: str, pipeline: Any) -> Path:
    folder = local_path(config, "config") or fetch_configs(config)
    found = pipeline_class(config, folder / "model_index.json")
    if found is not pipeline:
        raise UserError(f"model {name!r}: it is a {pipeline.__name__}, but config {config!r} is a {found.__name__}")
    return folder
