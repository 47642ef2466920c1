"""ControlNet and T2I-Adapter: networks that read control images, and what they make of a batch of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from diffusers import ControlNetModel, T2IAdapter
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.controls import ControlNetwork
from masactrl_video.model.backbones.window import Window, cut_rows
from masactrl_video.model.offload import execution_device


@dataclass(frozen=True)
class GuidanceNetwork(ControlNetwork):
    """One ControlNet or T2I-Adapter."""

    module: ControlNetModel | T2IAdapter

    @property
    def is_adapter(self) -> bool:
        """Whether this is a T2I-Adapter, whose features do not depend on the denoising step."""
        return isinstance(self.module, T2IAdapter)

    @property
    def size_factor(self) -> int:
        """Width and height of control images must be multiples of this."""
        factor: int = self.module.downscale_factor if self.is_adapter else 1
        return factor

    def prepare(self, pictures: NDArray[np.uint8]) -> torch.Tensor:
        """Control images RGB uint8 (frames, height, width, 3) → (frames, channels, height, width) in [0, 1]."""
        pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2)
        channels = self.module.config.in_channels if self.is_adapter else self.module.config.conditioning_channels
        if channels == 1:
            if not bool((pixels == pixels[:, :1]).all()):
                raise UserError(
                    f"guidance {self.name!r}: its network reads one grey channel, but the pictures have colours"
                )
            pixels = pixels[:, :1]
        elif channels != pixels.shape[1]:
            raise UserError(f"guidance {self.name!r}: its network reads {channels} channels; RGB or grey is possible")
        return pixels.to(execution_device(self.module), self.module.dtype) / 255

    def embed(self, pictures: torch.Tensor) -> torch.Tensor:
        """A ControlNet's features of prepared pictures, on the latents' grid; they do not depend on the step."""
        if self._is_bgr:  # its forward pass turns the channels of what it gets: of pictures, and of features too
            return self.module.controlnet_cond_embedding(pictures.flip(1)).flip(1)  # type: ignore[no-any-return]
        return self.module.controlnet_cond_embedding(pictures)  # type: ignore[no-any-return]

    @property
    def _is_bgr(self) -> bool:
        return bool(self.module.config.controlnet_conditioning_channel_order == "bgr")


@dataclass(frozen=True)
class PreparedGuidance:
    """Control images of a batch of frames, ready for every denoising step."""

    controlnets: tuple[tuple[GuidanceNetwork, torch.Tensor], ...] = ()
    """Each ControlNet with its pictures (frames, channels, height, width)."""
    adapters: tuple[tuple[GuidanceNetwork, tuple[torch.Tensor, ...]], ...] = ()
    """Each T2I-Adapter with its features, already weighted; they serve all steps."""
    embedded: tuple[torch.Tensor, ...] = ()
    """What each ControlNet makes of its pictures before it sees any latents; it serves all steps and branches."""

    def cut(self, part: Mapping[int, Window | None]) -> PreparedGuidance:
        """Of some frames, each in its window, if it has one: what goes to the denoiser."""
        cut = partial(cut_rows, part=part)
        return PreparedGuidance(
            self.controlnets,
            tuple((network, tuple(map(cut, features))) for network, features in self.adapters),
            tuple(map(cut, self.embedded)),
        )

    def read(self) -> Sequence[tuple[GuidanceNetwork, tuple[torch.Tensor, ...]]]:
        """See `PreparedControls`."""
        return [(network, (pictures,)) for network, pictures in self.controlnets] + list(self.adapters)


def controlnets(networks: Sequence[ControlNetwork]) -> list[ControlNetModel]:
    """Those among a model's networks."""
    return [network.module for network in networks if isinstance(network.module, ControlNetModel)]


@torch.no_grad()
def prepare_guidance(networks: Sequence[ControlNetwork], pictures: Sequence[NDArray[np.uint8]]) -> PreparedGuidance:
    """See `Backbone.prepare_controls`."""
    nets: list[tuple[GuidanceNetwork, torch.Tensor]] = []
    adapters: list[tuple[GuidanceNetwork, tuple[torch.Tensor, ...]]] = []
    for network, frames in zip(networks, pictures, strict=True):
        assert isinstance(network, GuidanceNetwork)
        prepared = network.prepare(frames)
        if network.is_adapter:
            adapters.append((network, tuple(feature * network.scale for feature in network.module(prepared))))
        else:
            nets.append((network, prepared))
    embedded = tuple(network.embed(pictures) for network, pictures in nets)
    return PreparedGuidance(tuple(nets), tuple(adapters), embedded)
