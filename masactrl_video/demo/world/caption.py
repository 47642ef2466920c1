"""What a caption says of an identity and an action."""

import re

from masactrl_video.demo.world.identity import Identity, World
from masactrl_video.demo.world.vocabulary import SCENES


def caption(identity: Identity, action: str) -> str:
    """For example ``a panda in a red shirt and blue pants waving in the meadow``."""
    return (
        f"{_article(identity.species)} {identity.species} in {_article(identity.shirt)} {identity.shirt} shirt "
        f"and {identity.trousers} pants {action} {SCENES[identity.scene]}"
    )


def named_by(text: str, world: World) -> tuple[str, str, str] | None:
    """Species, shirt and trousers that a caption names; None where it is no caption of the world.

    What the character does may be any one word, or left out, and so may the scene.
    """
    species, colours = "|".join(world.species), "|".join(world.colours)
    scenes = "|".join(SCENES[scene] for scene in world.scenes)
    form = rf"an? ({species}) in an? ({colours}) shirt and ({colours}) pants(?: [\w-]+)??(?: (?:{scenes}))?"
    found = re.fullmatch(form, text.strip().lower())
    return None if found is None else (found[1], found[2], found[3])


def unlearnt_words(text: str, world: World) -> list[str]:
    """Words that no caption of the world has, in their order without repeats."""
    scenes = " ".join(SCENES[scene] for scene in world.scenes).split()
    known = {*world.species, *world.colours, *world.actions, *scenes, "a", "an", "in", "and", "shirt", "pants"}
    words = re.findall(r"[^\W\d_]+", text.lower())
    return [word for word in dict.fromkeys(words) if word not in known]


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
