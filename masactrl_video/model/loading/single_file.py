"""One `.safetensors` file in the layout of a model's authors, as most community checkpoints come."""

from __future__ import annotations

from pathlib import Path

import torch
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled
from safetensors import safe_open

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import Backbone
from masactrl_video.model.backbones.parts import Pipeline
from masactrl_video.model.backbones.registry import backbones
from masactrl_video.model.loading.checks import pipeline_class
from masactrl_video.model.loading.hub import fetch_configs
from masactrl_video.model.loading.location import local_path
from masactrl_video.model.loading.weights import refuse_unused


def load_single_file(name: str, path: Path, config: str | None, dtype: torch.dtype) -> Pipeline:
    """Load a whole model from one file.

    Args:
        config: local folder or hub id of a diffusers model of the same architecture; else diffusers asks the hub.

    Raises:
        UserError: the file holds something else, or the configurations are not to be had.
    """
    backbone, pipeline = pipeline_of_file(name, path)
    folder = _config_folder(name, config, pipeline) if config else None
    try:
        pipe: Pipeline = pipeline.from_single_file(
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
    for part, unused in backbone.files.unused(path, pipe).items():
        refuse_unused("model", name, type(getattr(pipe, part)).__name__, unused)
    return pipe


def pipeline_of_file(name: str, path: Path) -> tuple[Backbone, type[Pipeline]]:
    """The family of a single file, and the pipeline of what it holds.

    Raises:
        UserError: it holds no model that can be steered.
    """
    known = []
    for backbone in backbones():
        known.append(backbone.title)
        if (found := backbone.files.pipeline_in(name, path)) is not None:
            return backbone, backbone.files.pipeline(found)
    with safe_open(path, framework="numpy") as file:  # reads the header only
        first = min((".".join(key.split(".")[:3]) for key in file.keys()), default="nothing")  # noqa: SIM118
    raise UserError(
        f"model {name!r}: it holds no whole {' or '.join(known)} in the original layout, which has a denoiser, a VAE "
        f"and a text encoder; its tensors are called {first}…"
    )


def _config_folder(name: str, config: str, pipeline: type[Pipeline]) -> Path:
    folder = local_path(config, "config") or fetch_configs(config)
    _, found = pipeline_class(config, folder / "model_index.json")
    if found is not pipeline:
        raise UserError(f"model {name!r}: it is a {pipeline.__name__}, but config {config!r} is a {found.__name__}")
    return folder
