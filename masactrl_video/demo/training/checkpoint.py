"""A training's state on disk: safetensors and JSON, replaced as a whole."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from masactrl_video.storage.staging import staged_folder


def save_checkpoint(
    folder: Path,
    networks: Mapping[str, nn.Module],
    averages: Mapping[str, Mapping[str, Tensor]],
    optimizer: torch.optim.Optimizer,
    state: Mapping[str, object],
) -> None:
    """Writes networks, their moving averages, the optimizer and ``state`` to ``folder`` in place of what was there."""
    with staged_folder(folder, "replace") as whole:
        for name, network in networks.items():
            save_file(plain(network.state_dict()), whole / f"{name}.safetensors")
            save_file(plain(averages[name]), whole / f"{name}.average.safetensors")
        save_file(plain(_optimizer_tensors(optimizer)), whole / "optimizer.safetensors")
        (whole / "state.json").write_text(json.dumps(state, indent=2) + "\n")


def load_checkpoint(
    folder: Path,
    networks: Mapping[str, nn.Module],
    averages: Mapping[str, dict[str, Tensor]],
    optimizer: torch.optim.Optimizer,
) -> dict[str, object]:
    """Puts everything back into the given objects and returns the state."""
    for name, network in networks.items():
        network.load_state_dict(load_file(folder / f"{name}.safetensors"))
        for key, tensor in load_file(folder / f"{name}.average.safetensors").items():
            averages[name][key].copy_(tensor)
    _restore_optimizer(optimizer, load_file(folder / "optimizer.safetensors"))
    state: dict[str, object] = json.loads((folder / "state.json").read_text())
    return state


def load_average(folder: Path, name: str, network: nn.Module) -> None:
    """Loads the moving average of one network of a checkpoint."""
    network.load_state_dict(load_file(folder / f"{name}.average.safetensors"))


def remove_leftovers(folder: Path) -> None:
    """Removes what a killed process left beside its checkpoint."""
    for leftover in folder.glob("tmp*"):
        shutil.rmtree(leftover)


def plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors wants them: on the CPU, contiguous, each with memory of its own."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    states = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": torch.as_tensor(value) for index, values in states.items() for key, value in values.items()
    }


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    whole = optimizer.state_dict()
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        whole["state"].setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict(whole)
