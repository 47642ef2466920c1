"""LoRA files on a loaded pipeline."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.parts import Pipeline
from masactrl_video.model.backbones.registry import backbone_of
from masactrl_video.model.loading.loading import loading
from masactrl_video.model.loading.location import local_path

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoraFile:
    """Low-rank changes of a model's weights (Hu et al. 2021), in kohya's or diffusers' layout."""

    path: str
    """A local `.safetensors` file."""
    scale: float = 1.0
    """Strength; 0 leaves the model as it is."""


def add_loras(pipe: Pipeline, loras: Sequence[LoraFile]) -> None:
    """Load LoRA files into a pipeline, all active at once, each with its scale.

    Raises:
        UserError: no such file, a pickle, or a LoRA of another kind of model.
    """
    names = [f"lora_{index}" for index in range(len(loras))]
    for name, lora in zip(names, loras, strict=True):
        _add(pipe, lora, name)
    if loras:
        pipe.set_adapters(names, adapter_weights=[lora.scale for lora in loras])


def _add(pipe: Pipeline, lora: LoraFile, adapter: str) -> None:
    path = local_path(lora.path, "LoRA")
    if path is None or not path.is_file():
        raise UserError(f"LoRA {lora.path!r}: give one local .safetensors file")
    arguments = {"weight_name": path.name, "use_safetensors": True, "local_files_only": True}
    files = backbone_of(pipe).files
    with loading("LoRA", lora.path):
        in_file = files.lora_tensors(pipe, path, lora.path, lora.scale)
        pipe.load_lora_weights(str(path.parent), adapter_name=adapter, **arguments)
    parts = {part: getattr(pipe, part) for part in files.lora_parts if getattr(pipe, part, None) is not None}
    loaded = sum(f".{adapter}." in name for part in parts.values() for name, _ in part.named_parameters())
    if not loaded:
        raise UserError(f"LoRA {lora.path!r}: none of its {len(in_file)} tensors belongs to a layer of this model")
    if loaded < len(in_file):
        layers = {f"{part}.{_of_layer(name)}" for part, network in parts.items() for name, _ in network.named_modules()}
        unused = len(in_file) - loaded
        first = min((key for key in in_file if _of_layer(key) not in layers), default=min(in_file))
        told = (path, unused, len(in_file), first)
        logger.warning("LoRA %s: %d of its %d tensors belong to no layer of this model, e.g. %s", *told)
    if _metadata(path).get("ss_v_parameterization", "").lower() == "true" and _predicts(pipe) != "v_prediction":
        logger.warning("LoRA %s: it was trained for v_prediction, but this model predicts %s", path, _predicts(pipe))


def _metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="numpy") as file:
        return file.metadata() or {}


def _of_layer(name: str) -> str:
    """The layer that a tensor changes, without the words of transformers' older layouts."""
    return re.split(r"\.lora_|\.lora\.|_lora\.|\.processor\.|\.base_layer", name)[0].replace("text_model.", "")


def _predicts(pipe: Any) -> str:
    return str(pipe.scheduler.config.get("prediction_type", "epsilon"))
