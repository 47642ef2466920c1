"""Who is in the picture and where: what a caption names, and what it leaves unsaid."""

import zlib
from dataclasses import dataclass

import numpy as np

from masactrl_video.demo.world.vocabulary import ACTIONS, COLOURS, SCENES, SPECIES

NAMED = ("species", "shirt", "trousers", "scene")
"""What a caption says."""
PATTERNS = ("plain", "stripes", "dots")
HATS = ("none", "cap", "cone")
_HELD_OUT_ONE_IN = 10


@dataclass(frozen=True)
class World:
    """What may occur. A small world is learnt with a small budget."""

    species: tuple[str, ...]
    colours: tuple[str, ...]
    scenes: tuple[str, ...]
    actions: tuple[str, ...]


FULL_WORLD = World(SPECIES, COLOURS, tuple(SCENES), ACTIONS)
SMALL_WORLD = World(
    ("bear", "panda", "rabbit", "frog"), ("red", "blue", "green", "yellow"), ("meadow", "beach", "snow"), ACTIONS
)
WORLDS = {"full": FULL_WORLD, "small": SMALL_WORLD}


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A character in its place. Only the first four are named in captions."""

    species: str
    shirt: str
    trousers: str
    scene: str

    pattern: str
    """Of the shirt: one of ``PATTERNS``."""
    hat: str
    """One of ``HATS``."""
    hat_colour: str
    scarf: str
    """Its colour, or ``none``."""
    shades: tuple[float, float, float]
    """How light fur, shirt and trousers are, each from -1 to 1."""
    scenery: tuple[float, float, float]
    """Where the tree (or what the scene has in its place) stands, where the cloud is, and the light, each 0 to 1."""

    @property
    def held_out(self) -> bool:
        """Whether this combination of named attributes is kept out of every training."""
        named = " ".join(getattr(self, name) for name in NAMED)
        return zlib.crc32(named.encode()) % _HELD_OUT_ONE_IN == 0


def random_identity(random: np.random.Generator, world: World = FULL_WORLD) -> Identity:
    """An identity with every attribute drawn evenly from the world."""

    def one_of(names: tuple[str, ...]) -> str:
        return names[int(random.integers(len(names)))]

    def numbers(low: float, high: float) -> tuple[float, float, float]:
        first, second, third = random.uniform(low, high, 3).tolist()
        return first, second, third

    return Identity(
        species=one_of(world.species),
        shirt=one_of(world.colours),
        trousers=one_of(world.colours),
        scene=one_of(world.scenes),
        pattern=one_of(PATTERNS),
        hat=one_of(HATS),
        hat_colour=one_of(world.colours),
        scarf=one_of(("none", *world.colours)) if random.uniform() < 0.6 else "none",
        shades=numbers(-1, 1),
        scenery=numbers(0, 1),
    )
