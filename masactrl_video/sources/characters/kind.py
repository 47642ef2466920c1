"""Of which kind a character is, before anything heavy is loaded."""

from __future__ import annotations

from masactrl_video.settings.settings import Settings
from masactrl_video.sources.characters.index import CharacterIndex
from masactrl_video.sources.characters.store import default_root, read_index


def index_of(settings: Settings, name: str) -> CharacterIndex:
    """What is known of a character of this name.

    Raises:
        UserError: there is none.
    """
    return read_index(settings.characters_dir or default_root(), name)


def characters_of(settings: Settings) -> list[str]:
    """Names of the character that is the source, if one is, and of those beside it."""
    return [*([] if settings.character is None else [settings.character]), *settings.references]


def is_kept_reference(settings: Settings) -> bool:
    """Whether the character that is the source is a reference, which stands beside every frame from step 0 on."""
    return settings.character is not None and index_of(settings, settings.character).recipe.kind == "reference"
