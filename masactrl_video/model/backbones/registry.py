"""The backbones there are, own ones and other packages', and which of them a pipeline or a network belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pkgutil import resolve_name

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import Backbone
from masactrl_video.plugins import load_plugin, plugin_names

_OWN = (
    "masactrl_video.model.backbones.unet.backbone:UNetBackbone",
    "masactrl_video.model.backbones.flux.backbone:FluxBackbone",
    "masactrl_video.model.backbones.flux2.backbone:Flux2Backbone",
    "masactrl_video.model.backbones.sd3.backbone:SD3Backbone",
    "masactrl_video.model.backbones.zimage.backbone:ZImageBackbone",
    "masactrl_video.model.backbones.qwen.backbone:QwenBackbone",
    "masactrl_video.model.backbones.chroma.backbone:ChromaBackbone",
    "masactrl_video.model.backbones.pixart.backbone:PixArtBackbone",
    "masactrl_video.model.backbones.wan.backbone:WanBackbone",
)
"""Written as entry points are; a backbone is imported when it is asked for."""


def backbones() -> Iterator[Backbone]:
    """All of them, own ones first; another package is imported when its turn comes.

    Raises:
        UserError: a package cannot be imported, or what it adds is no backbone.
    """
    yield from _own()
    yield from _others()


@cache
def _own() -> tuple[Backbone, ...]:
    return tuple(resolve_name(place)() for place in _OWN)


@cache
def _others() -> tuple[Backbone, ...]:
    return tuple(_checked(name, load_plugin("backbones", name)) for name in plugin_names("backbones"))


def _checked(name: str, added: object) -> Backbone:
    """What an entry point gives: a backbone, or its class."""
    backbone = added() if isinstance(added, type) else added
    if not isinstance(backbone, Backbone):
        missing = sorted(member for member in _members() if not hasattr(backbone, member))
        raise UserError(
            f"masactrl_video.backbones: {name} is no backbone: it lacks {', '.join(missing)}; see docs/plug-points.md"
        )
    return backbone


def _members() -> Iterator[str]:
    return (name for name in vars(Backbone) if not name.startswith("_"))


def known_models() -> str:
    """What can be controlled, for messages: names of the families, and of their pipelines."""
    known = list(backbones())
    titles = " and ".join(", ".join(backbone.title for backbone in known).rsplit(", ", 1))
    pipelines = ", ".join(name for backbone in known for name in backbone.pipelines)
    return f"{titles} are possible ({pipelines}); docs/plug-points.md says how to add others"


def backbone_named(class_name: str) -> Backbone | None:
    """The backbone of a class of pipelines or denoisers, if there is one."""
    return next((one for one in backbones() if class_name in (*one.pipelines, *one.denoisers)), None)


def backbone_of(pipe_or_denoiser: object) -> Backbone:
    """The backbone of a loaded pipeline, or of its denoiser, by the name of its class or of one that it inherits.

    A pipeline of another kind (with ControlNet, image to image, a custom one) is known by the denoiser that it holds.

    Raises:
        UserError: it is of no family that is known here.
    """
    plain = getattr(pipe_or_denoiser, "_orig_mod", pipe_or_denoiser)  # of what torch.compile gave
    for kind in type(plain).__mro__:
        if (backbone := backbone_named(kind.__name__)) is not None:
            return backbone
    for backbone in backbones():
        held = getattr(plain, backbone.denoiser_part, None)
        if held is not None:
            return backbone_of(held)
    raise UserError(
        f"a {type(pipe_or_denoiser).__name__} is of no kind of model that can be controlled here; {known_models()}"
    )
