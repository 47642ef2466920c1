"""The ways of control that an evaluation compares."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from masactrl_video.evaluate.curves import at_depth, curve
from masactrl_video.evaluate.rendering import Variant, Way


def way(layers: int, *, places: bool) -> Way:
    backbone = SimpleNamespace(layers=lambda denoiser: [None] * layers, keys_have_places=places)
    model = SimpleNamespace(backbone=backbone, denoiser=None)
    return cast(Way, SimpleNamespace(model=model, settings=SimpleNamespace(num_inference_steps=20)))


@pytest.mark.parametrize(
    ("published", "layers", "own"),
    [((0, 28, 56), 57, (0, 28, 56)), ((0, 28, 56), 9, (0, 4, 8)), ((0, 1, 2), 9, (0,)), ((55, 56), 9, (8,))],
)
def test_published_layers_lie_as_deep_in_another_model(
    published: tuple[int, ...], layers: int, own: tuple[int, ...]
) -> None:
    assert at_depth(published, layers) == own


def test_a_model_whose_keys_have_places_is_measured_for_each_and_for_published_layers() -> None:
    first = Variant(2, 2)
    along: Any = curve(way(9, places=True), first)
    assert {variant.positions for variant in along.values()} == {"as-is", "shifted", "free", "pose"}
    assert [name for name, variant in along.items() if variant.chosen_layers] == [
        "FreeFlux's layers",
        "Stable Flow's layers",
    ]
    assert [variant.masa_layer for name, variant in along.items() if name.startswith("L")] == list(range(9))


def test_the_unet_is_measured_where_the_paper_did() -> None:
    along = curve(way(16, places=False), Variant(2, 8))
    assert along["layers 4-10"].chosen_layers == tuple(range(4, 11))
    assert {variant.positions for variant in along.values()} == {"as-is"}
    assert "S = 20" in along and along["S = 20"].masa_step == 20
