"""Settings as JSON Schema (draft 2020-12), for forms, and for editors that check YAML as it is typed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast, get_args

from pydantic import BaseModel

from masactrl_video.errors import UserError
from masactrl_video.settings.fields import SPRITES, STILLS, Command, settings_for
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.sprites import SpriteSettings
from masactrl_video.settings.stills import StillSettings

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def settings_schema(command: str | None = None) -> dict[str, Any]:
    """JSON Schema of the settings that a command has, or of a configuration file (`--config`) for any of them.

    Each setting tells, beside type, limits, default and description, its `group`, what it `changes` (`source`,
    `frames`, `file` or `speed`), the `commands` that have it, whether it is `sweepable`, and, where that may be, under
    which conditions it has no effect (`inactiveWhen`) or may be given at all (`onlyWhen`).

    Raises:
        UserError: there is no such command, or it has no settings.
    """
    if command is None:
        return _configuration()
    if command not in get_args(Command):
        raise UserError(f"schema: {command!r} has no settings; these have: {', '.join(get_args(Command))}")
    known = cast(Command, command)
    record = record_of(known)
    return _schema(record, settings_for(record, known), known)


def record_of(command: Command) -> type[Settings]:
    """The record that has a command's settings."""
    if command in SPRITES:
        return SpriteSettings
    return StillSettings if command in STILLS else Settings


def _configuration() -> dict[str, Any]:
    """Everything that may stand in a file, whatever it is for."""
    whole = _schema(StillSettings, StillSettings.model_fields, "configuration")
    own = [name for name in SpriteSettings.model_fields if name not in StillSettings.model_fields]
    whole["properties"] |= _schema(SpriteSettings, own, "sprites")["properties"]
    return whole


def _schema(record: type[BaseModel], names: Collection[str], title: str) -> dict[str, Any]:
    """The part of a record's schema that is about some of its settings."""
    whole = record.model_json_schema()
    properties = {name: whole["properties"][name] for name in names}
    if "clip" in properties:  # also where the record is one of still pictures, which inherit it
        properties["clip"] = Settings.model_json_schema()["properties"]["clip"]
    schema = {
        "$schema": DIALECT,
        "title": f"masactrl-video {title}",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return schema | ({"$defs": whole["$defs"]} if "controls" in properties else {})
