"""Whether a pipeline is one that this package can steer, and whether a guidance network belongs to its UNet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    T2IAdapter,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from masactrl_video.errors import UserError
from masactrl_video.model.loading.location import read_json
from masactrl_video.model.loading.prediction import check_scheduler_class

_PIPELINES: dict[str, type[StableDiffusionPipeline | StableDiffusionXLPipeline]] = {
    "StableDiffusionPipeline": StableDiffusionPipeline,
    "StableDiffusionXLPipeline": StableDiffusionXLPipeline,
}
_NOT_LOADED = ("safety_checker", "feature_extractor", "image_encoder")
_NETWORKS: dict[str, type[Any]] = {
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
"""Parts without weights, and files of which each needs one."""


def networks_of(pipeline: type[Any]) -> dict[str, type[Any]]:
    """The networks of a pipeline: name of the part → its class."""
    return {part: kind for part, kind in _NETWORKS.items() if part in pipeline.__init__.__annotations__}


def check_beside(name: str, pipeline: type[Any], folder: Path) -> None:
    """See that the parts of a pipeline that have no weights lie in its folder.

    Raises:
        UserError: one of them does not.
    """
    for part, files in _BESIDE.items():
        wanted = part in pipeline.__init__.__annotations__
        if wanted and not any((folder / part / file).is_file() for file in files):
            raise UserError(
                f"model {name!r}: its {part} is missing (no {' or '.join(files)} in {folder / part}); give the folder "
                "of a whole diffusers model"
            )


def pipeline_class(name: str, index: Path) -> type[StableDiffusionPipeline | StableDiffusionXLPipeline]:
    """The pipeline of Stable Diffusion 1.x, 2.x or XL that a `model_index.json` names.

    Raises:
        UserError: no such file, or another pipeline.
    """
    if not index.is_file():
        raise UserError(
            f"model {name!r}: no {index.name} in {index.parent}; give the folder of a whole diffusers model"
        )
    parts = read_json(index, "model", name)
    found = parts.get("_class_name")
    if not isinstance(found, str) or found not in _PIPELINES:
        raise UserError(
            f"model {name!r}: its pipeline is {found}; Stable Diffusion 1.x, 2.x and XL are possible "
            f"({' or '.join(_PIPELINES)})"
        )
    _check_parts(name, parts)
    return _PIPELINES[found]


def _check_parts(name: str, parts: dict[str, Any]) -> None:
    """See that every part of a pipeline is of a class that this package can steer, and none of the model's own code."""
    for part, value in parts.items():
        library, kind = value if isinstance(value, list) and len(value) == 2 else (None, None)
        if library is None or part in _NOT_LOADED:
            continue
        if library not in ("diffusers", "transformers"):
            raise UserError(
                f"model {name!r}: its {part} is of {library!r}, code that comes with the model and is never run; take "
                "a model of diffusers' and transformers' own parts"
            )
        if part in _NETWORKS and kind != _NETWORKS[part].__name__:
            raise UserError(
                f"model {name!r}: its {part} is a {kind}, not a {_NETWORKS[part].__name__}; take a model with one"
            )
        if part == "scheduler":
            check_scheduler_class(name, kind)


def check_network(name: str, network: ControlNetModel | T2IAdapter, unet: UNet2DConditionModel) -> None:
    """See that a guidance network was made for UNets of this shape, and for pictures as they are drawn here."""
    adapter = isinstance(network, T2IAdapter)
    channels = network.config.in_channels if adapter else network.config.conditioning_channels
    if channels not in (1, 3):
        raise UserError(f"network {name!r}: its pictures have {channels} channels; RGB or grey is possible")
    fits = _adapter_shape if adapter else _controlnet_shape
    own, wanted = fits(network, unet)
    for entry, value in wanted.items():
        if own[entry] != value:
            raise UserError(
                f"network {name!r}: it was made for another kind of model: its {entry} is {own[entry]}, the model's "
                f"{value}; take one for {_family(unet)}"
            )


def _controlnet_shape(network: ControlNetModel, unet: UNet2DConditionModel) -> tuple[dict[str, Any], dict[str, Any]]:
    entries = (
        *("cross_attention_dim", "block_out_channels", "layers_per_block", "addition_embed_type", "in_channels"),
        *("addition_time_embed_dim", "projection_class_embeddings_input_dim", "class_embed_type", "encoder_hid_dim"),
    )
    own, wanted = ({entry: _plain(config.get(entry)) for entry in entries} for config in (network.config, unet.config))
    return own, wanted


def _adapter_shape(network: T2IAdapter, unet: UNet2DConditionModel) -> tuple[dict[str, Any], dict[str, Any]]:
    channels, blocks = _plain(network.config.channels), _plain(unet.config.block_out_channels)
    shared = min(len(channels), len(blocks))  # a light adapter names three of four, one for SDXL four of three
    own = {"channels": channels[:shared], "for SDXL": network.config.adapter_type.endswith("_xl")}
    return own, {"channels": blocks[:shared], "for SDXL": unet.config.addition_embed_type == "text_time"}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


def _family(unet: UNet2DConditionModel) -> str:
    if unet.config.addition_embed_type == "text_time":
        return "SDXL"
    return (
        f"Stable Diffusion with text states of {unet.config.cross_attention_dim} channels (SD-1.x: 768, SD-2.x: 1024)"
    )
