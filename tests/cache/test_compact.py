"""Smaller storage of keys and values: how much smaller, and how far off."""

from pathlib import Path
from typing import get_args

import pytest
import tiny_models
import torch

from masactrl_video.attention.plan import plan_control
from masactrl_video.cache.quantize import pack, storage_error, unpack
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.model.backbones.unet.controls import PreparedGuidance
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt
from masactrl_video.model.sampling.denoise import Denoising
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler
from masactrl_video.settings.names import CacheDtype
from masactrl_video.sources.record import cached_source, expected_bytes
from masactrl_video.sources.source import GeneratedSource

BRANCHES, SIZE = ("unconditional", "conditional"), (128, 128)
BOUNDS = {"exact": 0.0, "float16": 5e-4, "bfloat16": 4e-3, "int8": 1e-2, "float8": 4e-2}
"""Relative error of numbers with 11 and 8 bits, of steps of 1/127 of a channel's largest, and of 4 bits."""


@pytest.fixture
def states() -> dict[str, torch.Tensor]:
    """Channels of very different ranges, and one that is all zeros."""
    generator = torch.Generator().manual_seed(0)
    ranges = torch.tensor([1e-3, 1.0, 100.0, 0.0])
    return {"a.key": torch.randn(2, 50, 4, generator=generator) * ranges, "a.value": torch.zeros(2, 50, 4)}


@pytest.mark.parametrize("kind", get_args(CacheDtype))
def test_what_comes_back_is_as_near_as_its_format_allows(states: dict[str, torch.Tensor], kind: CacheDtype) -> None:
    packed = pack(states, kind)
    back = unpack(packed, "a.key", torch.float32)
    for channel in range(4):
        lost = (back - states["a.key"])[..., channel].norm() / states["a.key"][..., channel].norm().clamp_min(1e-9)
        assert lost <= BOUNDS[kind]
    assert torch.equal(unpack(packed, "a.value", torch.float32), states["a.value"])
    assert (storage_error(states, packed) > 0) == (kind != "exact")


@pytest.fixture(scope="module")
def model() -> DiffusionModel:
    return DiffusionModel(tiny_models.sd1_pipeline())


def record(model: DiffusionModel, root: Path, kind: CacheDtype) -> tuple[CachedSource, int]:
    plan = plan_control(model.unet, 2, masa_step=1, masa_layer=10)
    denoising = Denoising(model, encode_prompt(model, "a bear", "", 7.5, SIZE), 4.0, 0)
    noise = initial_noise(model, SIZE, 0)
    source = GeneratedSource(denoising, make_scheduler(model, "ddim", 2), noise, PreparedGuidance())
    found = cached_source(root, model, source, BRANCHES, plan, dtype=kind)
    return found, expected_bytes(model, source, 2, plan, kind)


def test_a_source_is_stored_smaller_beside_the_exact_one(model: DiffusionModel, tmp_path: Path) -> None:
    sources = {kind: record(model, tmp_path, kind) for kind in get_args(CacheDtype)}
    exact = sources["exact"][0]
    assert len({found.entry.folder for found, _ in sources.values()}) == len(sources)
    sizes = {kind: found.entry.index.files["step-0001.safetensors"].bytes for kind, (found, _) in sources.items()}
    assert sizes["float16"] < 0.55 * sizes["exact"]
    assert max(sizes["int8"], sizes["float8"]) < 0.35 * sizes["exact"]
    for kind, (found, expected) in sources.items():
        held = sum(file.bytes for file in found.entry.index.files.values())
        assert expected <= held < 1.3 * expected + 8000  # headers
        record_, original = found.read(1), exact.read(1)
        lost = max(
            float((record_.keys[name] - original.keys[name]).norm() / original.keys[name].norm())
            for name in found.layers
        )
        assert record_.keys[found.layers[0]].dtype == model.dtype
        assert lost <= BOUNDS[kind]
        assert found.storage_error is None if kind == "exact" else 0 < (found.storage_error or 0) <= BOUNDS[kind]
