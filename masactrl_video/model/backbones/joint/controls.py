"""ControlNets of transformers: loaded, and what they read of control images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers import ModelMixin
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import LoadedModel
from masactrl_video.model.backbones.controls import ControlNetwork, NetworkChoice
from masactrl_video.model.backbones.latents import LatentSpace
from masactrl_video.model.loading.hub import fetch_configs, fetch_network
from masactrl_video.model.loading.loading import loading
from masactrl_video.model.loading.location import local_path
from masactrl_video.model.loading.weights import check_complete, load_part
from masactrl_video.model.offload import execution_device


@dataclass(frozen=True)
class PreparedPictures:
    """Control images of a batch of frames, ready for every denoising step."""

    networks: tuple[tuple[ControlNetwork, torch.Tensor], ...] = ()
    """Each with its pictures as it reads them; the first axis is the frames."""

    def read(self) -> Sequence[tuple[ControlNetwork, tuple[torch.Tensor, ...]]]:
        """See `PreparedControls`."""
        return [(network, (pictures,)) for network, pictures in self.networks]

    def acting(self, step: int, num_steps: int) -> list[tuple[ControlNetwork, torch.Tensor]]:
        """Those that act at a denoising step."""
        return [(network, pictures) for network, pictures in self.networks if network.acts_at(step, num_steps)]


def load_network(
    choice: NetworkChoice,
    kind: type[ModelMixin],
    title: str,
    denoiser: ModelMixin,
    shape: Sequence[str],
    *,
    in_one_file: bool = False,
) -> ModelMixin:
    """The network of class `kind` that a choice means, in the denoiser's number format.

    Args:
        title: what people call the family.
        shape: entries of the configuration in which it must be like the denoiser.
        in_one_file: whether it may come as one file in its authors' layout.

    Raises:
        UserError: not to be found, of a wrong kind, or made for another kind of model.
    """
    if choice.kind != "controlnet":
        raise UserError(f"{choice.kind} {choice.name!r}: {title} can have ControlNets alone (class {kind.__name__})")
    path = local_path(choice.name, choice.kind)
    is_file = path is not None and path.is_file()
    if (is_file and not in_one_file) or (choice.config and not is_file):
        raise UserError(f"{choice.kind} {choice.name!r}: for {title}, give its folder or a hub id")
    if path is not None and choice.revision:
        raise UserError(f"{choice.kind} {choice.name!r}: revision is for hub ids")
    with loading(choice.kind, choice.name):
        if path is not None and is_file:
            network = _from_file(choice, kind, path, denoiser.dtype)
        else:
            folder = path or fetch_network(choice.name, choice.kind, choice.revision, choice.variant)
            network = load_part(kind, choice.kind, choice.name, folder, denoiser.dtype, choice.variant)
        check_complete(choice.kind, choice.name, network)
    for entry in shape:
        if network.config[entry] != denoiser.config[entry]:
            raise UserError(
                f"network {choice.name!r}: it was made for another kind of model: its {entry} is "
                f"{network.config[entry]}, the model's {denoiser.config[entry]}; take one for this model"
            )
    return network.to(denoiser.device).eval()


def _from_file(choice: NetworkChoice, kind: type[ModelMixin], path: Path, dtype: torch.dtype) -> ModelMixin:
    folder = None
    if choice.config:
        folder = local_path(choice.config, "config") or fetch_configs(choice.config)
    try:
        return kind.from_single_file(
            str(path), config=str(folder) if folder else None, torch_dtype=dtype, local_files_only=folder is not None
        )
    except OSError as error:
        if folder is not None:
            raise
        raise UserError(
            f"{choice.kind} {choice.name!r}: a single file holds only weights, and its configuration is not to be had "
            "from the hub; give as config a local folder of a ControlNet of the same architecture"
        ) from error


def refuse_controls(choice: NetworkChoice, title: str) -> UserError:
    """What to say of a network for a family that has none."""
    return UserError(
        f"{choice.kind} {choice.name!r}: diffusers has no control networks for {title}; render a clip with "
        "--guidance and nothing behind it (animate needs a model that has some)"
    )


def as_pixels(frames: NDArray[np.uint8]) -> torch.Tensor:
    """RGB (frames, height, width, 3) → (frames, 3, height, width), -1 to 1."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2) / 127.5 - 1


@torch.no_grad()
def as_latents(model: LoadedModel, space: LatentSpace, frames: NDArray[np.uint8]) -> torch.Tensor:
    """The pictures as the autoencoder has them, (frames, channels, height, width).

    Of what it finds, the mean is taken, where diffusers draws noise.
    """
    vae = cast(Any, model.pipe.components["vae"])
    pixels = as_pixels(frames).to(execution_device(vae), vae.dtype)
    return torch.cat([space.encode(vae, pixel[None], model.dtype) for pixel in pixels])
