"""Whether every weight of a file belongs to a layer, and every layer has its weight."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from masactrl_video.errors import UserError, counted
from masactrl_video.model.loading.location import check_safetensors, read_json

_HARMLESS = re.compile(
    # positions that are counted, not learned, and CLIP's way to pictures, which no text encoder needs
    r"(^|\.)(position_ids|logit_scale|vision_model\..*|visual_projection\..*)$"
)
_SIGNS: tuple[tuple[str, str], ...] = (
    (r"^(task_embedding|spatial_ch_projs|control_add_embedding|control_type_proj)\b", "a ControlNet Union"),
    (r"motion_modules|temporal_transformer", "a motion module for video"),
    (r"^difference$", "a ControlNet that holds only differences from its UNet"),
    (r"lora_|hada_|lokr_|dora_scale", "an adapter that is not merged"),
    (r"scale_weight|weight_scale|scaled_fp8|input_scale", "weights of 8 bits with scales"),
    (r"absmax|quant_map|\.SCB$|qweight|nested_", "quantised weights"),
    (r"^encoder_hid_proj|ip_adapter", "an IP-Adapter"),
)
"""What names of weights tell about the kind of a network."""


def load_part(
    expected: type[Any], what: str, name: str, folder: Path, dtype: torch.dtype, variant: str | None = None
) -> Any:
    """A network of diffusers or transformers of the class `expected` from its folder, with exactly its weights.

    Args:
        what, name: what it belongs to, and how the user calls it, for messages.

    Raises:
        UserError: another class, no safetensors, or weights that are missing or fit no layer.
    """
    check_class(what, name, folder, expected)
    check_safetensors(folder, name, what, variant)
    part, info = expected.from_pretrained(
        str(folder),
        variant=variant,
        use_safetensors=True,
        torch_dtype=dtype,
        local_files_only=True,
        output_loading_info=True,
    )
    refuse_missing(what, name, info["missing_keys"])
    refuse_unused(what, name, expected.__name__, unused_of(part, info["unexpected_keys"]))
    return part


def check_class(what: str, name: str, folder: Path, expected: type[Any]) -> None:
    """See that a folder's configuration is of the class that is to be loaded from it.

    Raises:
        UserError: there is none, or it names another class.
    """
    config = folder / "config.json"
    if not config.is_file():
        wanted = f"give a folder whose config.json names {expected.__name__}"
        raise UserError(f"{what} {name!r}: no config.json in {folder}; {wanted}")
    values = read_json(config, what, name)
    own = getattr(getattr(expected, "config_class", None), "model_type", None)
    found = None if own is not None and values.get("model_type") == own else _classes(values)
    if found is not None and expected.__name__ not in found:
        named = " or ".join(map(str, found)) or None
        where = "its config.json" if what != "model" else f"its {folder.name}/config.json"
        raise UserError(f"{what} {name!r}: {where} names {named}, not {expected.__name__}; take one of that class")


def _classes(config: Mapping[str, Any]) -> list[Any] | None:
    """The class that a configuration is for; transformers' may leave it out, and say the architecture instead."""
    if "model_type" not in config:
        return [config.get("_class_name")]
    if not isinstance(config["model_type"], str) or not config["model_type"].startswith("clip"):
        return [config["model_type"]]
    return None  # CLIP with and without projection read the same weights


def unused_of(part: torch.nn.Module, unexpected: Iterable[str]) -> list[str]:
    """Of the weights that fit no layer, those that a model could need."""
    projects = hasattr(part, "text_projection")
    return sorted(
        key for key in unexpected if not _HARMLESS.search(key) and (projects or key != "text_projection.weight")
    )


def refuse_missing(what: str, name: str, keys: Iterable[str]) -> None:
    """Say which layers get no weight, if any do not: the libraries leave them at random values, or at none."""
    if missing := sorted(keys):
        are = counted(len(missing), "weight is missing", "weights are missing")
        raise UserError(f"{what} {name!r}: {are} in its files, e.g. {missing[0]}")


def refuse_unused(what: str, name: str, kind: str, keys: Iterable[str]) -> None:
    """Say which weights would be left out, if any would: what was trained is more than what would be loaded."""
    if unused := sorted(keys):
        sign = next((text for sign, text in _SIGNS for key in unused if re.search(sign, key)), None)
        belong = counted(len(unused), "weight in its files belongs", "weights in its files belong")
        looks = f"it looks like {sign}, which is not supported" if sign else "it was made for another network"
        raise UserError(
            f"{what} {name!r}: {belong} to no layer of its {kind}, e.g. {unused[0]}: {looks}; take an ordinary one"
        )


def check_complete(what: str, name: str, module: torch.nn.Module) -> None:
    """See that every weight has values: diffusers leaves those of a single file that it does not find without."""
    refuse_missing(what, name, [key for key, tensor in module.state_dict().items() if tensor.is_meta])
