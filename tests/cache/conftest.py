"""A small cache entry, written the ordinary way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from masactrl_video.cache.store import CacheWriter


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def write_entry(root: Path) -> Callable[..., str]:
    """Write an entry of two steps and a source file; returns its fingerprint."""

    def write(**determined_by: Any) -> str:
        with new_writer(root, **determined_by) as writer:
            for step in (2, 3):
                writer.write_step(step, {"shared/layer.key": torch.full((1, 2, 6, 4), step, dtype=torch.bfloat16)})
            writer.write("source", {"latents": torch.arange(12.0).reshape(1, 3, 2, 2)})
        return writer.fingerprint

    return write


@pytest.fixture(name="new_writer")
def _new_writer() -> Callable[..., CacheWriter]:
    return new_writer


def new_writer(root: Path, expected_bytes: int = 1000, **determined_by: Any) -> CacheWriter:
    return CacheWriter(
        root,
        determined_by or {"seed": 1},
        branches=("shared",),
        timesteps=[801, 601, 401, 201, 1],
        layers=("layer",),
        expected_bytes=expected_bytes,
    )
