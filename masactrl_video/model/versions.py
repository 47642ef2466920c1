"""Versions: of this package, and of what it computes with."""

import platform
import sys
from importlib.metadata import version

import masactrl_video


def versions() -> dict[str, str]:
    """Of this package, of Python and of what computes, which need not be loaded for that."""
    own = {"masactrl-video": masactrl_video.__version__, "python": platform.python_version()}
    for name in ("torch", "diffusers", "transformers"):
        own[name] = getattr(sys.modules.get(name), "__version__", None) or version(name)
    return own
