"""The backbones there are, and which of them a pipeline or a network belongs to."""

from __future__ import annotations

from functools import cache
from pkgutil import resolve_name

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import Backbone

_OWN = ("masactrl_video.model.backbones.unet.backbone:UNetBackbone",)
"""Written as entry points are; a backbone is imported when it is asked for."""


@cache
def backbones() -> tuple[Backbone, ...]:
    """All of them."""
    return tuple(resolve_name(place)() for place in _OWN)


def backbone_of(pipe_or_denoiser: object) -> Backbone:
    """The backbone of a loaded pipeline, or of its denoiser, by the name of its class or of one that it inherits.

    A pipeline of another kind (with ControlNet, image to image, a custom one) is known by the denoiser that it holds.

    Raises:
        UserError: it is of no family that is known here.
    """
    plain = getattr(pipe_or_denoiser, "_orig_mod", pipe_or_denoiser)  # of what torch.compile gave
    for kind in type(plain).__mro__:
        for backbone in backbones():
            if kind.__name__ in (*backbone.pipelines, *backbone.denoisers):
                return backbone
    for backbone in backbones():
        held = getattr(plain, backbone.denoiser_part, None)
        if held is not None:
            return backbone_of(held)
    known = ", ".join(name for backbone in backbones() for name in backbone.pipelines)
    raise UserError(
        f"a {type(pipe_or_denoiser).__name__} is of no kind of model that can be controlled here; "
        f"these pipelines and their denoisers are possible: {known}"
    )
