"""Several sources along a clip, as settings say them: from which frame on which holds, and what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from masactrl_video.errors import UserError

if TYPE_CHECKING:  # the record asks these
    from masactrl_video.settings.settings import Settings

CLIP, GENERATED = "clip", "generated"
"""What a source may be, besides a picture's path or a character's name."""


def is_picture(what: str) -> bool:
    """Whether it is a path: names of characters have no dots and slashes."""
    return any(sign in what for sign in "./\\~")


def is_inverted(what: str) -> bool:
    """Whether such a source is a given picture, which is inverted."""
    return what == CLIP or is_picture(what)


def source_frames(settings: Settings) -> list[tuple[int, str]]:
    """Frame, and what the source is that holds from it on, in order; empty where `sources` says nothing.

    Raises:
        ValueError: a frame that is no whole number, or that has two sources.
    """
    found: dict[int, str] = {}
    for text, what in settings.sources.items():
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"sources: got frame {text!r}; a frame is a whole number, the first is 0")
        if int(text) in found:
            raise ValueError(f"sources: frame {int(text)} has two sources, {found[int(text)]} and {what}; name one")
        found[int(text)] = what
    return sorted(found.items())


def first_source(settings: Settings) -> Settings:
    """Settings of the first source alone."""
    if settings.cast:
        return sources_alone(settings)[0]
    if settings.sources:
        return source_alone(settings, *source_frames(settings)[0])
    return _changed(settings, source_frame=0) if settings.key_frames is not None else settings


def sources_alone(settings: Settings) -> list[Settings]:
    """Settings of each source that they name."""
    if settings.cast:
        from masactrl_video.settings.cast import cast_alone, cast_members

        return [cast_alone(settings, who) for _, who in cast_members(settings)]
    if not settings.sources:
        return [first_source(settings)]
    return [source_alone(settings, frame, what) for frame, what in source_frames(settings)]


def source_alone(settings: Settings, frame: int, what: str) -> Settings:
    """Settings of one source of several: as if it were the only one, and one that is generated later, of its frame.

    Raises:
        UserError: it does not go together with the rest.
    """
    changes: dict[str, Any] = {"source": "generate", "source_frame": frame, "source_image": None, "character": None}
    if what == CLIP:
        changes["source"] = "clip"
    elif is_picture(what):
        changes["source_image"] = what
    elif what != GENERATED:
        changes |= {"character": what, "source_prompt": None}
    if not is_inverted(what):
        changes["source_caption"] = None
    if what == GENERATED and frame > 0:  # as the frame itself
        changes |= {"source_prompt": None, "source_mask_words": None}
    return _changed(settings, **changes)


def later_sources(settings: Settings) -> str:
    """What sources are that `key_frames` places after the first one."""
    return CLIP if settings.source == "clip" else GENERATED


def check_timeline(settings: Settings) -> None:
    """Sources that can stand on one timeline. Raises ValueError."""
    if settings.key_frames is not None and settings.sources:
        raise ValueError("sources and key_frames exclude each other: name the frames, or have them placed")
    if settings.key_frames == "auto" and not {"pose", "canny"} & set(settings.kinds):
        raise ValueError("key_frames auto: it goes by guidance pose or canny, and there is neither; give a number")
    if (settings.sources or settings.key_frames not in (None, 1)) and settings.source_mask is not None:
        raise ValueError("source_mask: it shows one source, and there are several; give source_mask_words")
    if settings.source_storage == "live" and (settings.sources or settings.key_frames is not None):
        raise ValueError("source_storage live: it is for a clip with one source; give cache, or auto")
    if settings.source_storage == "live" and settings.character is not None:
        raise ValueError("source_storage live: a character's keys and values are in the cache; give cache, or auto")
    if settings.key_frames not in (None, 1):
        _check_along(settings, [(1, later_sources(settings))], "key_frames")
    if not settings.sources:
        return
    for name, default in (("source", "generate"), ("source_image", None), ("character", None)):
        if getattr(settings, name) != default:
            raise ValueError(f"sources and {name} exclude each other: write 0=… into sources for the first one")
    given = source_frames(settings)
    if given[0][0] != 0:
        raise ValueError(f"sources: the first is at frame {given[0][0]}; what holds from frame 0 on? add 0=…")
    check_gaps([frame for frame, _ in given], settings)
    _check_along(settings, given, "sources")


def _check_along(settings: Settings, given: Sequence[tuple[int, str]], name: str) -> None:
    """See that each can be a source, masks and all; `name` is what asks for them. Raises ValueError."""
    if settings.cast:  # which refuses them all
        return
    if settings.target_masks is not None and any(what == GENERATED for frame, what in given if frame):
        raise ValueError(
            "target_masks: a source that is generated after the first is masked by words; give mask_words instead"
        )
    for frame, what in given:
        try:
            source_alone(settings, frame, what)
        except UserError as error:
            where = f"sources, frame {frame}" if name == "sources" else f"{name}, a later source"
            raise ValueError(f"{where}: {error}") from error


def check_gaps(frames: list[int], settings: Settings) -> None:
    """See that each hand-over is over when the next one begins. Raises ValueError."""
    if settings.hand_over != "mix":
        return
    for before, after in pairwise(frames[1:]):
        if after - before < settings.hand_over_frames:
            raise ValueError(
                f"hand_over_frames: got {settings.hand_over_frames}, but sources are at frames {before} and {after}; "
                f"give at most {after - before}"
            )


def _changed(settings: Settings, **changes: Any) -> Settings:
    return changed(settings, {"sources": {}, "key_frames": None, **changes})


def changed(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The settings with changes, checked anew.

    Raises:
        UserError: they do not go together with the rest.
    """
    from masactrl_video.settings.presets import checked

    return checked(type(settings), settings.model_dump(mode="json") | dict(changes))
