"""Loading a ControlNet or T2I-Adapter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import ControlNetModel, T2IAdapter
from safetensors import safe_open

from masactrl_video.errors import UserError
from masactrl_video.model.loading.hub import fetch_configs, fetch_network
from masactrl_video.model.loading.loading import loading
from masactrl_video.model.loading.location import local_path
from masactrl_video.model.loading.unused import unused_in_controlnet
from masactrl_video.model.loading.weights import check_class, check_complete, load_part, refuse_unused
from masactrl_video.settings.names import AdapterKind

_CLASSES: dict[AdapterKind, type[ControlNetModel | T2IAdapter]] = {
    "controlnet": ControlNetModel,
    "t2i-adapter": T2IAdapter,
}


@dataclass(frozen=True)
class NetworkChoice:
    """Which network reads a guidance, and how strongly and when it acts."""

    guidance: str
    """Name of the guidance that it reads, e.g. `pose`."""
    kind: AdapterKind
    name: str
    """Hub id, local folder, or for a ControlNet one `.safetensors` file."""
    scale: float = 1.0
    start: float = 0.0
    """Fraction of the denoising steps at which it begins to act."""
    end: float = 1.0
    """Fraction of the denoising steps at which it stops acting."""
    revision: str | None = None
    variant: str | None = None
    config: str | None = None
    """For a single file: local folder or hub id of a ControlNet with the same architecture; else the hub is asked."""


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
