"""What a caption says of an identity and an action."""

from masactrl_video.demo.world.identity import Identity
from masactrl_video.demo.world.vocabulary import SCENES


def caption(identity: Identity, action: str) -> str:
    """For example ``a panda in a red shirt and blue pants waving in the meadow``."""
    return (
        f"{_article(identity.species)} {identity.species} in {_article(identity.shirt)} {identity.shirt} shirt "
        f"and {identity.trousers} pants {action} {SCENES[identity.scene]}"
    )


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
