"""Ways of control that are compared: over steps, layers, places of keys, and the layers that papers chose."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args

from masactrl_video.evaluate.rendering import Variant, Way
from masactrl_video.settings.names import SourcePositions

_FLUX_LAYERS = 57
_PUBLISHED = {
    "FreeFlux's layers": (0, 7, 8, 9, 10, 18, 25, 28, 37, 42, 45, 50, 56),
    "Stable Flow's layers": (0, 1, 17, 18, 25, 28, 53, 54, 56),
}
"""Layers of FLUX.1 that papers control, of all `_FLUX_LAYERS` in forward order (ICCV 2025; CVPR 2025)."""
_PAPERS_ALONE = tuple(range(4, 11))
"""Of the UNet: MasaCtrl, Fig. 12."""


def curve(way: Way, first: Variant) -> Mapping[str, Variant]:
    """What differs from `first` in one thing, by its name in the table.

    Args:
        first: as the preset has it.
    """
    backbone, steps = way.model.backbone, way.settings.num_inference_steps
    layers = len(backbone.layers(way.model.denoiser))
    curve = {f"S = {at}": replace(first, masa_step=at) for at in sorted({0, 1, 2, 4, 6, 10, 15, steps})}
    curve |= {f"L = {at}": replace(first, masa_layer=at) for at in _first_layers(layers)}
    if not backbone.keys_have_places:
        return curve | {"layers 4-10": replace(first, chosen_layers=_PAPERS_ALONE)}
    curve |= {f"positions {where}": replace(first, positions=where) for where in get_args(SourcePositions)}
    return curve | {name: replace(first, chosen_layers=at_depth(own, layers)) for name, own in _PUBLISHED.items()}


def at_depth(published: Sequence[int], layers: int) -> tuple[int, ...]:
    """Layers of a model of `layers` that lie as deep as the published ones do in FLUX.1."""
    return tuple(sorted({round(layer / (_FLUX_LAYERS - 1) * (layers - 1)) for layer in published}))


def _first_layers(layers: int) -> Sequence[int]:
    """Every one of few, else those that were published for the UNet."""
    return range(layers) if layers < 10 else [at for at in (0, 4, 7, 8, 10, 13) if at < layers]
