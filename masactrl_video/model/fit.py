"""Whether a loaded pipeline is one that this package can steer, and whether a guidance network belongs to its UNet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import (
    ControlNetModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    T2IAdapter,
    UNet2DConditionModel,
)

from masactrl_video.errors import UserError
from masactrl_video.model.location import read_json

_PIPELINES: dict[str, type[StableDiffusionPipeline | StableDiffusionXLPipeline]] = {
    "StableDiffusionPipeline": StableDiffusionPipeline,
    "StableDiffusionXLPipeline": StableDiffusionXLPipeline,
}
_NOT_LOADED = ("safety_checker", "feature_extractor")


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
    """See that no part of a pipeline is a class of the model's own, whose code would have to be run."""
    for part, value in parts.items():
        library = value[0] if isinstance(value, list) and value else None
        if library is not None and library not in ("diffusers", "transformers") and part not in _NOT_LOADED:
            raise UserError(
                f"model {name!r}: its {part} is of {library!r}, code that comes with the model and is never run; take "
                "a model of diffusers' and transformers' own parts"
            )


def check_unet(name: str, pipe: Any) -> None:
    """See that the UNet makes pictures from noise and a prompt alone, by self- and cross-attention."""
    unet, latent_channels = pipe.unet.config, pipe.vae.config.latent_channels
    if unet.in_channels != latent_channels:
        raise UserError(
            f"model {name!r}: its UNet reads {unet.in_channels} channels where latents have {latent_channels}: "
            "a model for inpainting, upscaling or depth; take the ordinary one"
        )
    if not any(".attn2." in processor for processor in pipe.unet.attn_processors):
        raise UserError(f"model {name!r}: its UNet has no cross-attention, so no prompt can reach it")
    for entry in ("class_embed_type", "num_class_embeds", "time_cond_proj_dim"):
        if unet.get(entry) is not None:
            raise UserError(f"model {name!r}: its UNet needs more than a prompt ({entry} is {unet[entry]!r})")


def check_network(name: str, network: ControlNetModel | T2IAdapter, unet: UNet2DConditionModel) -> None:
    """See that a guidance network was made for UNets of this shape."""
    fits = _adapter_shape if isinstance(network, T2IAdapter) else _controlnet_shape
    own, wanted = fits(network, unet)
    for entry, value in wanted.items():
        if own[entry] != value:
            raise UserError(
                f"network {name!r}: it was made for another kind of model: its {entry} is {own[entry]}, the model's "
                f"{value}; take one for {_family(unet)}"
            )


def _controlnet_shape(network: ControlNetModel, unet: UNet2DConditionModel) -> tuple[dict[str, Any], dict[str, Any]]:
    entries = ("cross_attention_dim", "block_out_channels", "layers_per_block", "addition_embed_type", "in_channels")
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
