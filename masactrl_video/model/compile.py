"""torch.compile for the parts of a network that attention leaves alone."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from textwrap import shorten

import torch

from masactrl_video.errors import UserError

_MOST_FORMS = 256
"""Of one kind of block: one for each of its shapes and sizes of a batch. torch would stop at 8 and say no more."""


def compile_network(network: torch.nn.Module, backend: str = "inductor") -> None:
    """Compile a denoiser or a control network in place: its residual blocks, feed-forward layers and the like.

    Attention stays as it is. Its processors are changed for each chunk of frames and count what they do, which would
    break every graph around them; its matrix products and fused attention have nothing to gain.

    Args:
        backend: of torch.compile.

    Raises:
        UserError: this torch cannot do it.
    """
    if "recompile_limit" not in inspect.signature(torch.compile).parameters:
        raise UserError(f"compile: torch {torch.__version__} is too old for it; install a newer one, or leave it out")
    for region in _regions(network):
        # dynamic=False: a batch's last digits must not depend on which sizes of a batch came before it
        region.compile(backend=backend, dynamic=False, recompile_limit=_MOST_FORMS)


def is_compiled(network: torch.nn.Module) -> bool:
    """Whether any part of a network is compiled."""
    return any(module._compiled_call_impl is not None for module in network.modules())


def check_compiler(device: torch.device, backend: str = "inductor") -> None:
    """See that torch.compile works here, on something small.

    Raises:
        UserError: it does not; most often no C++ compiler (CPU) or no Triton (GPU).
    """
    try:
        torch.compile(_something, backend=backend)(torch.ones(2, device=device))
    except (RuntimeError, OSError, ImportError) as error:
        reason = shorten(str(error), 200, placeholder=" ...")
        raise UserError(
            f"compile: torch.compile does not work here ({reason}); it needs a C++ compiler, on a GPU Triton too: "
            "install them, or leave it out"
        ) from error


def _something(x: torch.Tensor) -> torch.Tensor:
    return x.sin() + 1


def _regions(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """The largest parts, of several layers each, that hold no attention."""
    for child in module.children():
        if isinstance(child, torch.nn.ModuleList) or any(hasattr(part, "set_processor") for part in child.modules()):
            yield from _regions(child)
        elif any(True for _ in child.children()):
            yield child
