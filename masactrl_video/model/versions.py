"""Versions: of this package, and of what it computes with."""

import platform

import diffusers
import torch
import transformers

import masactrl_video


def versions() -> dict[str, str]:
    """Of this package, of Python and of what computes."""
    return {
        "masactrl-video": masactrl_video.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
    }
