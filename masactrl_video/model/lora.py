"""LoRA files on a loaded pipeline."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from masactrl_video.errors import UserError
from masactrl_video.model.loading import loading
from masactrl_video.model.location import local_path

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoraFile:
    """Low-rank changes of a model's weights (Hu et al. 2021), in kohya's or diffusers' layout."""

    path: str
    """A local `.safetensors` file."""
    scale: float = 1.0
    """Strength; 0 leaves the model as it is."""


def add_loras(pipe: Any, loras: Sequence[LoraFile]) -> None:
    """Load LoRA files into a pipeline, all active at once, each with its scale.

    Raises:
        UserError: no such file, a pickle, or a LoRA of another kind of model.
    """
    names = [f"lora_{index}" for index in range(len(loras))]
    for name, lora in zip(names, loras, strict=True):
        _add(pipe, lora, name)
    if loras:
        pipe.set_adapters(names, adapter_weights=[lora.scale for lora in loras])


def _add(pipe: Any, lora: LoraFile, adapter: str) -> None:
    path = local_path(lora.path, "LoRA")
    if path is None or not path.is_file():
        raise UserError(f"LoRA {lora.path!r}: give one local .safetensors file")
    arguments = {"weight_name": path.name, "use_safetensors": True, "local_files_only": True}
    with loading("LoRA", lora.path):
        in_file, *_ = pipe.lora_state_dict(str(path.parent), unet_config=pipe.unet.config, **arguments)
        pipe.load_lora_weights(str(path.parent), adapter_name=adapter, **arguments)
    parts = [getattr(pipe, part, None) for part in ("unet", "text_encoder", "text_encoder_2")]
    loaded = sum(f".{adapter}." in name for part in parts if part is not None for name, _ in part.named_parameters())
    if not loaded:
        raise UserError(f"LoRA {lora.path!r}: none of its {len(in_file)} tensors belongs to a layer of this model")
    if loaded < len(in_file):
        unused = len(in_file) - loaded
        logger.warning("LoRA %s: %d of its %d tensors belong to no layer of this model", path, unused, len(in_file))
