"""Who is in a picture: the identity whose exact drawing comes nearest, found by drawing the candidates.

No network judges another one here. A picture is compared with the drawings of every value of every attribute in turn,
and the nearest is kept, until nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from masactrl_video.demo.world.frame import draw_frame
from masactrl_video.demo.world.identity import HATS, PATTERNS, Identity, World
from masactrl_video.demo.world.poses import Posture

_MOST_ROUNDS = 3
_STEPS = 7
"""Values tried of an attribute that is a number."""
_FINER = (1 / 2, 1 / 4)
"""Parts of the distance between those values, tried around the nearest one."""
_SHIRT = 1
"""Its place among the shades."""


def read_identity(picture: NDArray[np.uint8], pose: Posture, world: World, start: Identity | None = None) -> Identity:
    """The identity of the world that a picture shows in a known pose.

    Args:
        picture: RGB (height, width, 3).
        start: a first guess; the first value of everything if not given.
    """
    best = start or _first_of(world)
    error = _error(picture, best, pose)
    for _ in range(_MOST_ROUNDS):
        before = error
        best, error = _nearest(picture, pose, best, error, _changes(world))
        if error == before:
            break
    for part in _FINER:
        best, error = _nearest(picture, pose, best, error, _finer(best, part))
    return best


def _nearest(
    picture: NDArray[np.uint8], pose: Posture, best: Identity, error: float, changes: Iterable[_Change]
) -> tuple[Identity, float]:
    """The best identity and its error after trying changes in turn, each kept where it brings the picture nearer."""
    for change in changes:
        candidate = change(best)
        if candidate != best and (other := _error(picture, candidate, pose)) < error:
            best, error = candidate, other
    return best, error


def _error(picture: NDArray[np.uint8], identity: Identity, pose: Posture) -> float:
    """Mean absolute difference of the picture from the exact one, in levels of 255."""
    exact = draw_frame(identity, pose, "", *picture.shape[:2]).image
    return float(np.abs(exact.astype(np.int16) - picture).mean())


class _Change:
    """One candidate: an identity with some of its attributes given other values."""

    def __init__(self, **values: object) -> None:
        self.values = values

    def __call__(self, identity: Identity) -> Identity:
        return replace(identity, **self.values)  # type: ignore[arg-type]


class _Number(_Change):
    """One of the numbers of an attribute that has three."""

    def __init__(self, name: str, at: int, value: float) -> None:
        self.name, self.at, self.value = name, at, value

    def __call__(self, identity: Identity) -> Identity:
        numbers = list(getattr(identity, self.name))
        numbers[self.at] = self.value
        return replace(identity, **{self.name: tuple(numbers)})  # type: ignore[arg-type]


class _Both(_Change):
    """Two changes at once."""

    def __init__(self, first: _Change, second: _Change) -> None:
        self.first, self.second = first, second

    def __call__(self, identity: Identity) -> Identity:
        return self.second(self.first(identity))


def _changes(world: World) -> Iterator[_Change]:
    """Large areas first: the place, then the clothes, then what is small."""
    yield from (_Change(scene=scene) for scene in world.scenes)
    yield from (_Number("scenery", at, float(value)) for at in range(3) for value in np.linspace(0, 1, _STEPS))
    yield from (_Change(shirt=colour) for colour in world.colours)
    yield from (_Change(trousers=colour) for colour in world.colours)
    yield from (_Change(species=species) for species in world.species)
    # A pattern that is blurred looks like a lighter shade, so the two are tried together.
    yield from (_Both(_Change(pattern=pattern), shade) for pattern in PATTERNS for shade in _shades(_SHIRT))
    yield from (_Change(scarf=scarf) for scarf in ("none", *world.colours))
    yield from (_Change(hat=hat, hat_colour=colour) for hat in HATS for colour in world.colours)
    yield from (shade for at in range(3) for shade in _shades(at))


def _finer(best: Identity, part: float) -> Iterator[_Change]:
    """Numbers a little lower and higher than those of an identity."""
    for name, low in (("scenery", 0.0), ("shades", -1.0)):
        step = part * (1 - low) / (_STEPS - 1)
        for at, value in enumerate(getattr(best, name)):
            yield from (_Number(name, at, float(np.clip(value + way * step, low, 1))) for way in (-1, 1))


def _shades(at: int) -> Iterator[_Change]:
    yield from (_Number("shades", at, float(value)) for value in np.linspace(-1, 1, _STEPS))


def _first_of(world: World) -> Identity:
    return Identity(
        species=world.species[0],
        shirt=world.colours[0],
        trousers=world.colours[0],
        scene=world.scenes[0],
        pattern=PATTERNS[0],
        hat=HATS[0],
        hat_colour=world.colours[0],
        scarf="none",
        shades=(0.0, 0.0, 0.0),
        scenery=(0.5, 0.5, 0.5),
    )
