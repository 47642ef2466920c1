"""Where a model runs, and in which number format."""

from __future__ import annotations

import torch

from masactrl_video.errors import UserError
from masactrl_video.settings.names import DtypeName

_DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def choose_device(name: str | None) -> torch.device:
    """The device of that name; without one a CUDA GPU if there is one, else Apple's (mps), else the CPU.

    Raises:
        UserError: no device of that name on this machine.
    """
    here = [kind for kind, found in (("cuda", torch.cuda.is_available()), ("mps", _has_mps())) if found] + ["cpu"]
    try:
        device = torch.device(name or here[0])
    except RuntimeError:
        device = None
    if device is None or device.type not in here or (device.index or 0) >= max(1, torch.cuda.device_count()):
        raise UserError(f"device: got {name!r}; this machine has {', '.join(here)}")
    return device


def choose_dtype(name: DtypeName | None, device: torch.device) -> torch.dtype:
    """The number format of that name; without one float16 on a CUDA GPU and float32 elsewhere.

    Raises:
        UserError: another name.
    """
    if name is not None and name not in _DTYPES:
        raise UserError(f"dtype: got {name!r}; give {', '.join(_DTYPES)}")
    default = torch.float16 if device.type == "cuda" else torch.float32
    return _DTYPES[name] if name else default


def is_channels_last(network: torch.nn.Module) -> bool:
    """Whether a network's convolutions are in the channels_last memory format."""
    kernels = (p for p in network.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1)
    first = next(kernels, None)
    return first is not None and first.is_contiguous(memory_format=torch.channels_last)


def _has_mps() -> bool:
    return bool(torch.backends.mps.is_available())
