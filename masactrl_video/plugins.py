"""What other packages add to this one, found by their entry points."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Literal

from masactrl_video.errors import UserError

Kind = Literal["backbones", "modes", "controls", "pose_detectors"]
"""What can be added; the group of its entry points is `masactrl_video.` and this word."""


def plugin_names(kind: Kind) -> tuple[str, ...]:
    """Names under which installed packages add something of a kind, in alphabetical order; nothing is imported."""
    return tuple(sorted({point.name for point in _points(kind)}))


def load_plugin(kind: Kind, name: str) -> object:
    """What an installed package adds under a name.

    Raises:
        UserError: no package adds it, several do, or what it points to cannot be imported.
    """
    points = [point for point in _points(kind) if point.name == name]
    if not points:
        raise UserError(f"{name}: no installed package adds it by an entry point of masactrl_video.{kind}")
    if len({point.value for point in points}) > 1:
        packages = " and ".join(sorted({_package(point) for point in points}))
        raise UserError(f"{name}: {packages} both add it to masactrl_video.{kind}; uninstall one of them")
    try:
        return points[0].load()
    except Exception as error:  # whatever the package does at import
        raise UserError(
            f"{name}: {_package(points[0])} could not be imported: {error or type(error).__name__}"
        ) from error


def load_plugins(kind: Kind) -> Iterator[tuple[str, object]]:
    """All that installed packages add of a kind, by name."""
    for name in plugin_names(kind):
        yield name, load_plugin(kind, name)


def _points(kind: Kind) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=f"masactrl_video.{kind}"))


def _package(point: EntryPoint) -> str:
    return f"the package {point.dist.name}" if point.dist is not None else point.value
