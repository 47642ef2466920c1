"""Whether a source fits a model: the same weights, the same layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from masactrl_video.comfyui.comfy_types import Patcher
from masactrl_video.comfyui.networks import NetworkLayer
from masactrl_video.errors import UserError
from masactrl_video.storage.fingerprint import hash_bytes

_SOME = 64
"""Numbers looked at of each layer's weights."""


@dataclass(frozen=True)
class Fit:
    """What tells one model from another."""

    layers: tuple[tuple[str, int], ...]
    """Name and key channels of each self-attention layer."""
    weights: str
    """Hash of some of the weights, without what LoRAs add."""

    def check(self, other: Fit) -> None:
        """See that a source recorded with this model can serve another.

        Raises:
            UserError: it cannot.
        """
        if self.layers != other.layers:
            raise UserError(
                f"source: it was recorded with a model of {len(self.layers)} self-attention layers of other sizes, "
                f"this one has {len(other.layers)}; record it with this model"
            )
        if self.weights != other.weights:
            raise UserError(
                "source: it was recorded with other weights than this model's, so that its keys mean something else; "
                "record it with this checkpoint (LoRAs may differ)"
            )


def fit_of(model: Patcher, layers: Sequence[NetworkLayer]) -> Fit:
    """What tells this model from others."""
    names = {id(module): name for name, module in model.model.named_modules()}
    looked_at = []
    for layer in layers:
        name = f"{names[id(layer.keys_by)]}.weight"
        # a LoRA in use is added to the weights themselves; the ones before it are kept here
        weight = model.backup[name].weight if name in model.backup else layer.keys_by.weight
        numbers = torch.as_tensor(weight).detach().flatten()
        some = numbers[:: max(1, len(numbers) // _SOME)][:_SOME].to("cpu", torch.float32)
        looked_at.append(some.numpy().tobytes())
    return Fit(tuple((layer.name, layer.key_channels) for layer in layers), hash_bytes(b"".join(looked_at))[:32])
