"""What is known of this machine's GPUs without torch, whose import takes seconds."""

from __future__ import annotations

import platform
import re
import shutil
from pathlib import Path

from masactrl_video.errors import UserError

_DRIVER_FILES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/dxg", "/dev/kfd")
"""Where the drivers of NVIDIA's (also Jetson's, and below WSL) and AMD's GPUs appear."""
_DEVICE_NAME = re.compile(r"(cpu|cuda|mps)(:\d+)?")


def gpu_may_be_here() -> bool:
    """Whether torch need be asked: a driver is there, or it is a Mac with a chip of Apple's."""
    if platform.system() == "Darwin":
        return platform.machine() == "arm64"
    return any(Path(file).exists() for file in _DRIVER_FILES) or shutil.which("nvidia-smi") is not None


def check_device_name(name: str | None) -> None:
    """See that a device of that name can be here; whether it is, torch says (`choose_device`).

    Raises:
        UserError: a name of no kind of device, or a GPU's where no driver of one is.
    """
    if name is None:
        return
    if not _DEVICE_NAME.fullmatch(name):
        raise UserError(f"device: got {name!r}; allowed: cuda, mps or cpu, with a number for one of several: cuda:1")
    seen = platform.system() != "Linux" or gpu_may_be_here()  # elsewhere a driver may leave no file
    if not name.startswith("cpu") and not seen:
        raise UserError(f"device: got {name!r}; this machine has cpu")
