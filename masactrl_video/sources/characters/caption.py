"""What a saved character's frames show where nothing is said: its own caption."""

from __future__ import annotations

import logging
from typing import TypeVar

from masactrl_video.errors import UserError
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.characters.store import default_root, open_character

logger = logging.getLogger(__name__)

S = TypeVar("S", bound=Settings)


def with_caption(settings: S) -> S:
    """With the saved character's own caption for a prompt, where there is a character and no prompt.

    Raises:
        UserError: there is no such character, or nothing was said of it when it was made.
    """
    if settings.prompt or settings.character is None:
        return settings
    recipe = open_character(settings.characters_dir or default_root(), settings.character).index.recipe
    if not recipe.said:
        raise UserError(
            f"prompt: nothing is known of character {settings.character!r}; say with --prompt what it looks like"
        )
    logger.info("prompt: that of character %r: %s", settings.character, recipe.said)
    return settings.model_copy(update={"prompt": recipe.said})
