"""Command-line flags made of the settings, and settings made of the flags."""

from __future__ import annotations

import argparse
import types
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from pydantic import ByteSize
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from masactrl_video.cli.control_flags import Pairs, add_control_flags, controls_from
from masactrl_video.errors import UserError
from masactrl_video.settings.fields import Command, OneOf, option_of, settings_for
from masactrl_video.settings.home import MAY_BE_AT_HOME, homes_in
from masactrl_video.settings.presets import DEFAULT_PRESET, preset_names, read_config, read_preset, resolve
from masactrl_video.settings.settings import Settings

_METAVARS: dict[Any, str] = {int: "N", float: "X", str: "TEXT", Path: "PATH", ByteSize: "SIZE"}


class Parser(argparse.ArgumentParser):
    """Bad arguments get one line, like all other bad input."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As ever, with homes in paths: a shell leaves `~` alone in `--output=~/x` and `canny=~/x`."""
        found, rest = super().parse_known_args(args, namespace)
        for name, value in vars(found).items():
            setattr(found, name, _homes_in_paths(name, value))
        return found, rest


def add_settings(
    parser: argparse.ArgumentParser,
    command: Command = "render",
    kind: type[Settings] = Settings,
    by_hand: Collection[str] = (),
    clip: tuple[str, str] = ("clip", "video, folder of images, or pose JSON"),
) -> None:
    """The clip, the preset and a flag for every setting that the command has, as their descriptions say.

    Args:
        kind: whose settings.
        by_hand: settings for which the command has arguments of its own.
        clip: what the positional argument is called, and its help.
    """
    names = settings_for(kind, command)
    if "clip" in names:
        text = f"{clip[1]} (may stand in the configuration instead)"
        parser.add_argument("clip", nargs="?", metavar=clip[0], help=text)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--preset",
        metavar="NAME",
        help=f"settings to start from: {', '.join(preset_names())} (default: {DEFAULT_PRESET})",
    )
    chosen.add_argument("--config", type=Path, metavar="FILE", help="a YAML file to start from, e.g. an earlier run's")
    preset = read_preset(DEFAULT_PRESET)
    sections: dict[str, Any] = {}
    for name in names:
        about = option_of(kind, name)
        if about.by_hand or name in by_hand:
            continue
        if about.group not in sections:
            sections[about.group] = parser.add_argument_group(about.group)
        add_flag(sections[about.group], name, kind.model_fields[name], preset)
    if "sources" in names:
        text = f"{kind.model_fields['sources'].description} (repeatable)"
        sections["source"].add_argument("--source-at", dest="sources", action=Pairs, metavar="FRAME=WHAT", help=text)
    for name, flag, pair in (("cast", "--cast", "PERSON=CHARACTER"), ("cast_prompts", "--cast-prompt", "PERSON=TEXT")):
        if name in names:
            text = f"{kind.model_fields[name].description} (repeatable)"
            sections["source"].add_argument(flag, dest=name, action=Pairs, metavar=pair, help=text)
    if "guidance" in names:
        add_control_flags(sections["guidance"], weights="controls" in names)


def settings_from(arguments: argparse.Namespace) -> Settings:
    """Preset or configuration file, then the flags that were given.

    Raises:
        UserError: an unknown preset, or values that do not go together.
    """
    base = read_config(arguments.config) if arguments.config else read_preset(arguments.preset or DEFAULT_PRESET)
    given = vars(arguments)
    changes = {name: given[name] for name in Settings.model_fields if given.get(name) is not None}
    changes |= controls_from(base, given, changes.get("guidance", base.get("guidance")))
    if "character" in changes and not arguments.config:  # a preset's own prompt is of another one
        base = {name: value for name, value in base.items() if name != "prompt"}
    return resolve(base, changes)


def _homes_in_paths(name: str, value: Any) -> Any:
    """Of what argparse has read as paths, and of settings that are checked later but used before."""
    field = Settings.model_fields.get(name)
    is_path = isinstance(value, Path) or (isinstance(value, list) and any(isinstance(one, Path) for one in value))
    return homes_in(value) if is_path or (field is not None and MAY_BE_AT_HOME in field.metadata) else value


def add_flag(
    section: Any, name: str, field: FieldInfo, preset: Mapping[str, Any], flag: str | None = None, **more: Any
) -> None:
    """A flag for one setting, by default of its name; `more` goes to argparse. Values are checked with the settings."""
    kind, flag = _plain_type(field.annotation), flag or "--" + name.replace("_", "-")
    text = (field.description or "") + _default_text(field, preset.get(name))
    options: dict[str, Any] = {"dest": name, "default": None, "help": text.replace("%", "%%"), **more}
    origin = get_origin(kind)
    choices = [mark for mark in field.metadata if isinstance(mark, OneOf)]
    if choices:
        section.add_argument(flag, choices=choices[0], metavar=f"{{{','.join(choices[0].own)}}}", **options)
    elif kind is bool:
        section.add_argument(flag, action=argparse.BooleanOptionalAction, **options)
    elif origin is Literal:
        section.add_argument(flag, choices=get_args(kind), **options)
    elif origin is list:
        section.add_argument(flag, nargs="*", metavar=_METAVARS[get_args(kind)[0]], **options)
    elif origin is dict:
        value_type = get_args(kind)[1]
        section.add_argument(
            flag, action=Pairs, metavar="FILE[=SCALE]" if value_type is float else "KIND=PATH", **options
        )
    else:
        section.add_argument(flag, metavar=_METAVARS[kind], **options)


def _plain_type(annotation: Any) -> Any:
    """The type without `| None`."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next(part for part in get_args(annotation) if part is not type(None))
    return annotation


def _default_text(field: FieldInfo, preset: Any) -> str:
    """What holds when the flag is not given: by itself, and in the default preset where that says something else."""
    own = None if field.default is PydanticUndefined else field.default
    texts = [_as_typed(value) for value in (own, preset)]
    if preset is None or texts[0] == texts[1]:
        return f" (default: {texts[0]})" if texts[0] else ""
    return f" (default: {f'{texts[0]}; ' if texts[0] else ''}in preset {DEFAULT_PRESET}: {texts[1]})"


def _as_typed(value: Any) -> str:
    """A default as one would type it; empty where there is none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value in (None, "", [], {}):
        return ""
    return " ".join(value) if isinstance(value, list) else str(value)
