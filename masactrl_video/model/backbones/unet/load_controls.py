"""Loading a ControlNet or T2I-Adapter, and whether it was made for the UNet that it is to steer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel, T2IAdapter, UNet2DConditionModel
from safetensors import safe_open

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.controls import NetworkChoice
from masactrl_video.model.backbones.unet.unused import unused_in_controlnet
from masactrl_video.model.loading.hub import fetch_configs, fetch_network
from masactrl_video.model.loading.loading import loading
from masactrl_video.model.loading.location import local_path
from masactrl_video.model.loading.weights import check_class, check_complete, load_part, refuse_unused
from masactrl_video.settings.names import AdapterKind

_CLASSES: dict[AdapterKind, type[ControlNetModel | T2IAdapter]] = {
    "controlnet": ControlNetModel,
    "t2i-adapter": T2IAdapter,
}


def load_network(choice: NetworkChoice, dtype: torch.dtype, device: torch.device) -> ControlNetModel | T2IAdapter:
    """Load a guidance network, ready for inference.

    Raises:
        UserError: not to be found, another kind of network, or only pickles.
    """
    path = local_path(choice.name, choice.kind)
    with loading(choice.kind, choice.name):
        if path is not None and path.is_file():
            network = _from_file(choice, path, dtype)
        else:
            network = _from_folder(choice, path, dtype)
        check_complete(choice.kind, choice.name, network)
        return network.to(device).eval()


def _from_file(choice: NetworkChoice, path: Path, dtype: torch.dtype) -> ControlNetModel:
    if choice.kind != "controlnet":
        raise UserError(f"{choice.kind} {choice.name!r}: give its folder; only ControlNets come as one file")
    if choice.revision or choice.variant:
        raise UserError(f"{choice.kind} {choice.name!r}: revision and variant are for hub ids and folders")
    with safe_open(path, framework="numpy") as file:  # reads the header only
        if not any(key.startswith(("control_model.", "controlnet_cond_embedding.")) for key in file.keys()):  # noqa: SIM118
            raise UserError(f"{choice.kind} {choice.name!r}: the file holds no ControlNet")
    folder = _config_folder(choice) if choice.config else None
    try:
        network = ControlNetModel.from_single_file(
            str(path), config=str(folder) if folder else None, torch_dtype=dtype, local_files_only=folder is not None
        )
    except OSError as error:
        if folder is not None:
            raise
        raise UserError(
            f"{choice.kind} {choice.name!r}: a single file holds only weights, and its configuration is not to be had "
            "from the hub; give as config a local folder of a ControlNet of the same architecture"
        ) from error
    refuse_unused(choice.kind, choice.name, "ControlNetModel", unused_in_controlnet(path, network))
    return network


def _config_folder(choice: NetworkChoice) -> Path:
    assert choice.config is not None
    folder = local_path(choice.config, "config") or fetch_configs(choice.config)
    check_class(choice.kind, choice.name, folder, _CLASSES[choice.kind])
    return folder


def _from_folder(choice: NetworkChoice, path: Path | None, dtype: torch.dtype) -> ControlNetModel | T2IAdapter:
    if choice.config:
        raise UserError(f"{choice.kind} {choice.name!r}: config is for a single .safetensors file")
    if path is not None and choice.revision:
        raise UserError(f"{choice.kind} {choice.name!r}: revision is for hub ids")
    folder = path or fetch_network(choice.name, choice.kind, choice.revision, choice.variant)
    network: ControlNetModel | T2IAdapter = load_part(
        _CLASSES[choice.kind], choice.kind, choice.name, folder, dtype, choice.variant
    )
    return network


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
