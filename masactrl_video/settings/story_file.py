"""A story's file in, a checked story out: YAML, or a plain text script."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from masactrl_video.errors import UserError
from masactrl_video.settings.presets import DEFAULT_PRESET, read_config, read_preset, resolve
from masactrl_video.settings.script import read_script
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.short import short
from masactrl_video.settings.story import Page, Panel, Story

_YAML = (".yaml", ".yml")

GROUPS = ("model", "prompt", "attention", "work", "speed")
"""Groups of settings that may stand in a story."""
_GUIDANCE = ("guidance", "controls")
SAID_OTHERWISE = (
    *("prompt", "noise", "mask_words", "source_mask_words", "source_mask", "target_masks"),
    *("batch_size", "chunk_frames", "cache_memory", "skip_uncond", "reuse_deep_features"),
)
"""Settings of those groups that a story says of its characters and panels, or that a page has no use for."""

_OF_REGIONS = ("mask_threshold", "mask_grid_divisor")


def read_story(path: Path, character: Mapping[str, Any] | None = None) -> Story:
    """The story of a file: `.yaml` or `.yml`, else a plain text script.

    Args:
        character: of a plain text script: the entries of its only character (`prompt`, `image` or `source`, …).

    Raises:
        UserError: the file cannot be read, or something in it is unknown or not allowed.
    """
    if path.suffix.lower() not in _YAML:
        return _scripted(path, dict(character or {}))
    if character:
        raise UserError(
            f"{path}: a story names its characters itself; leave the character's flags out, or give a script"
        )
    return checked(read_config(path, Story), str(path))


def checked(data: Mapping[str, Any], where: str) -> Story:
    """A story from plain data.

    Raises:
        UserError: the first thing that is wrong, with its place in the story.
    """
    try:
        return Story.model_validate(dict(data))
    except ValidationError as error:
        raise UserError(f"{where}: {_one_line(error)}") from error
    except RecursionError as error:
        raise UserError(f"{where}: it refers to itself") from error


def pages_with_panels(story: Story, path: Path) -> list[Page]:
    """What of the story is on pages: panels in order, with the layout that they share.

    Raises:
        UserError: the story's script cannot be read.
    """
    if story.pages:
        return list(story.pages)
    panels = list(story.panels)
    if story.script is not None:
        script = path.parent / story.script
        panels = [_checked_panel(panel, f"{script}, panel {n}") for n, panel in enumerate(read_script(script), 1)]
    return [Page.model_construct(layout=story.layout, panels=panels)]


def settings_of(story: Story, changes: Mapping[str, Any], where: Path) -> Settings:
    """The settings that all panels share: preset, then the story's own, then `changes` from the command line.

    Raises:
        UserError: a setting that there is not, or that belongs to a panel.
    """
    for name in story.settings:
        if name in Settings.model_fields and not _is_shared(name):
            raise UserError(
                f"{where}: settings.{name}: not for a comic as a whole; leave it out, and see docs/comics.md for what "
                "characters and panels have of their own"
            )
    changed = {**story.settings, **changes}
    if changed.get("attention_mode") == "masked":
        raise UserError(f"{where}: settings.attention_mode: give the characters words instead of mode masked")
    base = {**read_preset(str(story.preset or DEFAULT_PRESET)), "clip": str(where), "side_by_side": False}
    base |= {name: changed.pop(name) for name in _OF_REGIONS if name in changed}  # they act where characters have words
    settings = resolve(base, changed)
    if "guidance" in changed and [settings.controls[name].kind for name in settings.guidance] != ["pose"]:
        raise UserError(
            f"{where}: settings.guidance: panels are guided by poses; name one control of kind pose, or none"
        )
    return settings


def _is_shared(name: str) -> bool:
    """Whether a setting of `render` may stand in a story."""
    group = (Settings.model_fields[name].json_schema_extra or {})["group"]  # type: ignore[index]
    return name in _GUIDANCE or (group in GROUPS and name not in SAID_OTHERWISE)


def _scripted(path: Path, character: dict[str, Any]) -> Story:
    description = character.get("prompt")
    panels = read_script(path, description)
    found = next((panel["character_text"] for panel in panels if "character_text" in panel), None)
    if not character and found is not None:
        character = {"prompt": found}
    for panel in panels:
        panel.pop("character_text", None)
    if not character and any(not panel["prompt"].startswith("[NC]") for panel in panels):
        raise UserError(f"{path}: say who is in it: --prompt, --source-image or --source-name")
    return checked({"characters": {"hero": character} if character else {}, "panels": panels}, str(path))


def _checked_panel(data: dict[str, Any], where: str) -> Panel:
    try:
        return Panel.model_validate({key: value for key, value in data.items() if key != "character_text"})
    except ValidationError as error:
        raise UserError(f"{where}: {_one_line(error)}") from error


def _one_line(error: ValidationError) -> str:
    """The first problem, with its place, what was given and what is allowed."""
    found = error.errors(include_url=False)
    first = next((one for one in found if one["loc"][-1:] != ("str",)), found[0])  # rows say more than "no name"
    place = ".".join(
        _part(part) for part in first["loc"] if not str(part).startswith(("function-", "constrained-", "list["))
    )
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"{place}: there is no such key; docs/comics.md lists them{more}"
    if first["type"] == "missing":
        return f"{place}: missing{more}"
    message = first["msg"].removeprefix("Value error, ")
    got = "" if first["type"] == "value_error" else f"got {short(first['input'])}; "
    return f"{place}: {got}{message}{more}" if place else f"{message}{more}"


def _part(part: int | str) -> str:
    """Panels and balloons are counted from 1, as a reader does."""
    return str(part + 1) if isinstance(part, int) else part
