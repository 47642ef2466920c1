"""Parts of a network that stand in for others, for the time of a call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def swapped(module: torch.nn.Module, **parts: torch.nn.Module | None) -> Iterator[None]:
    """Inside the context, children of these names are others, or none."""
    before = {name: getattr(module, name) for name in parts}
    for name, part in parts.items():
        setattr(module, name, part)
    try:
        yield
    finally:
        for name, part in before.items():
            setattr(module, name, part)
