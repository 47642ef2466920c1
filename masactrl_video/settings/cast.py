"""Who of a clip's people is which character, as settings say it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from masactrl_video.errors import UserError
from masactrl_video.settings.timeline import changed, is_picture

if TYPE_CHECKING:  # the record asks these
    from masactrl_video.settings.settings import Settings

_FREE = (
    "source",
    "source_frame",
    "source_image",
    "source_prompt",
    "character",
    "sources",
    "key_frames",
    "attention_mode",
    "person",
    "hold_colours",
    "retarget",
)
"""Settings that say something else of the source, or of whom frames show."""


def cast_members(settings: Settings) -> list[tuple[int, str]]:
    """Number of each person, by appearance, and the character, in the order of the numbers.

    Raises:
        ValueError: a number that is none, or stands twice.
    """
    found: dict[int, str] = {}
    for text, who in settings.cast.items():
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"cast: got person {text!r}; people are numbered by appearance, from 0")
        if int(text) in found:
            raise ValueError(f"cast: person {int(text)} is {found[int(text)]} and {who}; name one")
        found[int(text)] = who
    return sorted(found.items())


def cast_prompt(settings: Settings, person: int) -> str | None:
    """What a person's part of the picture reads instead of the prompt."""
    return next((text for number, text in settings.cast_prompts.items() if int(number) == person), None)


def cast_alone(settings: Settings, who: str) -> Settings:
    """Settings of one character's source, as if it were the only one.

    Raises:
        UserError: they do not go together with a character.
    """
    return changed(settings, {"cast": {}, "cast_prompts": {}, "character": who})


def check_cast(settings: Settings) -> None:
    """People who can have characters. Raises ValueError."""
    if not settings.cast:
        if settings.cast_prompts:
            raise ValueError("cast_prompts: there is no cast; give cast too, or leave them out")
        return
    members = dict(cast_members(settings))
    for who in members.values():
        if is_picture(who):
            raise ValueError(f"cast: got {who!r}; name a saved character (masactrl-video source make makes one)")
    if "pose" not in settings.kinds or "pose" in settings.guidance_video:
        raise ValueError("cast: people are found by their poses; take guidance pose, not as ready-made pictures")
    for name in _FREE:
        if getattr(settings, name) != type(settings).model_fields[name].default:
            raise ValueError(f"cast and {name} exclude each other: each person follows the own character, by regions")
    wrong = [number for number in settings.cast_prompts if not number.isdigit() or int(number) not in members]
    if wrong:
        raise ValueError(f"cast_prompts: got person {wrong[0]!r}, who has no character in cast")
    for person, who in members.items():
        try:
            cast_alone(settings, who)
        except UserError as error:
            raise ValueError(f"cast, person {person}: {error}") from error
