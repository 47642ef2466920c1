"""Recorded keys and values in fewer bytes than the model's number format: smaller on the disk, and not exact."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from masactrl_video.settings.names import CacheDtype

_SIXTEEN_BITS: dict[str, torch.dtype] = {"float16": torch.float16, "bfloat16": torch.bfloat16}
_EIGHT_BITS: dict[str, tuple[torch.dtype, float]] = {
    "int8": (torch.int8, 127.0),
    "float8": (torch.float8_e4m3fn, 448.0),
}
"""Number format and its largest number; each channel is scaled to reach it."""

_SCALE = ".scale"


def pack(states: Mapping[str, torch.Tensor], kind: CacheDtype) -> dict[str, torch.Tensor]:
    """Keys or values (branches, tokens, channels) by name, as they are stored; eight bits with a scale a channel."""
    if kind in _SIXTEEN_BITS:
        return {name: tensor.to(_SIXTEEN_BITS[kind]) for name, tensor in states.items()}
    if kind not in _EIGHT_BITS:
        return dict(states)
    dtype, largest = _EIGHT_BITS[kind]
    packed = {}
    for name, tensor in states.items():
        scale = tensor.float().abs().amax(dim=1, keepdim=True) / largest  # -> (branches, 1, channels)
        steps = tensor.float() / torch.where(scale > 0, scale, 1.0)
        packed[name] = (steps.round() if dtype == torch.int8 else steps).clamp(-largest, largest).to(dtype)
        packed[name + _SCALE] = scale
    return packed


def unpack(stored: Mapping[str, torch.Tensor], name: str, dtype: torch.dtype | None) -> torch.Tensor:
    """A stored tensor in the model's number format; None: as it is stored, where that is exact."""
    tensor, scale = stored[name], stored.get(name + _SCALE)
    if scale is not None:
        tensor = tensor.float() * scale
    return tensor if dtype is None else tensor.to(dtype)


def storage_error(states: Mapping[str, torch.Tensor], packed: Mapping[str, torch.Tensor]) -> float:
    """|what comes back - what was recorded| / |what was recorded|, over all tensors together (Frobenius norms)."""
    lost, whole = 0.0, 0.0
    for name, tensor in states.items():
        lost += float((unpack(packed, name, torch.float32) - tensor.float()).square().sum())
        whole += float(tensor.float().square().sum())
    return (lost / whole) ** 0.5 if whole else 0.0


def packed_bytes_of(values: int, channels: int, kind: CacheDtype, itemsize: int) -> int:
    """Size of so many values in so many channels of all branches, where the model's numbers have `itemsize` bytes."""
    if kind in _EIGHT_BITS:
        return values + 4 * channels
    return values * (2 if kind in _SIXTEEN_BITS else itemsize)
