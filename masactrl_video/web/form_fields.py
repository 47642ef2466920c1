"""What a form shows for a setting, and what is said when somebody has filled it in; made of its description alone."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, cast, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticUndefined

from masactrl_video.errors import UserError
from masactrl_video.settings.fields import OneOf, Option, option_of
from masactrl_video.settings.presets import resolve
from masactrl_video.settings.settings import Settings

Kind = Literal["switch", "choice", "number", "text", "words", "pairs", "file", "several"]
"""How it is asked for; `words` are a list, `pairs` a mapping, `several` a choice of more than one."""

BY_ITSELF = ""
"""Stands for None in a choice, where the program chooses."""


@dataclass(frozen=True)
class FormField:
    """A setting as a form asks for it."""

    name: str
    kind: Kind
    annotation: Any
    metadata: tuple[Any, ...]
    about: Option
    help: str
    default: Any
    """Without a preset."""
    choices: tuple[str, ...] = ()
    whole: bool = False
    """Of a number: without a fraction."""
    least: float | None = None
    most: float | None = None
    optional: bool = False

    @property
    def label(self) -> str:
        """Its name as people read it."""
        return self.name.replace("_", " ").capitalize()

    @property
    def info(self) -> str:
        """Its help, with its range."""
        if self.kind != "number" or (self.least is None and self.most is None):
            return self.help
        least, most = (None if bound is None else f"{bound:.12g}" for bound in (self.least, self.most))
        if most is None:
            return f"{self.help} (from {least})"
        return f"{self.help} (up to {most})" if least is None else f"{self.help} ({least} to {most})"

    def shown(self, preset: Mapping[str, Any]) -> Any:
        """What the form shows before anybody has touched it."""
        value = preset.get(self.name, self.default)
        if self.kind in ("file", "number", "switch"):
            return value if self.kind != "file" else None
        if self.kind == "several":
            return list(value or [])
        if self.kind == "words":
            return ", ".join(map(str, value or []))
        if self.kind == "pairs":
            return "\n".join(f"{key}={one}" for key, one in (value or {}).items())
        return BY_ITSELF if value is None else str(value)

    def said(self, given: Any, preset: Mapping[str, Any]) -> Any:
        """What the form says of the setting; None where it is as it was shown.

        Raises:
            UserError: text that does not hold what it should.
        """
        if given == self.shown(preset) or given is None or (self.optional and given == ""):
            return None
        if self.kind == "number" and self.whole and float(given).is_integer():
            return int(given)
        if self.kind == "words":
            return [word.strip() for word in str(given).split(",") if word.strip()]
        if self.kind == "pairs":
            return self._pairs(str(given))
        return given

    def checked(self, value: Any) -> Any:
        """A value of the setting's own type, for the conditions of other settings.

        Raises:
            UserError: it has none.
        """
        try:
            return TypeAdapter(self.annotation).validate_python(value)
        except ValidationError as error:
            raise UserError(f"{self.name}: {error.errors(include_url=False)[0]['msg']}") from error

    def _pairs(self, text: str) -> dict[str, str]:
        found = {}
        for line in filter(None, map(str.strip, text.splitlines())):
            parted = line.rpartition("=") if self.name == "lora" else line.partition("=")  # as the command line does
            name, equals, value = parted
            if not equals and self.name == "lora":
                name, value = line, "1"
            if not name or not value:
                raise UserError(f"{self.name}: got {line!r}; write NAME=VALUE, one a line")
            found[name] = value
        return found


def field_of(record: type[BaseModel], name: str, controls: Mapping[str, Any] | None = None) -> FormField:
    """A setting's field.

    Args:
        controls: names to choose guidance from.
    """
    field = record.model_fields[name]
    plain, optional = _plain(field.annotation)
    marks = [mark for mark in field.metadata if isinstance(mark, OneOf)]
    bottoms = [mark.ge if isinstance(mark, Ge) else mark.gt for mark in field.metadata if isinstance(mark, (Ge, Gt))]
    tops = [float(cast(float, mark.le)) for mark in field.metadata if isinstance(mark, Le)]
    below = 1 if plain is int else 0  # the largest whole number below a bound that is left out
    tops += [float(cast(float, mark.lt)) - below for mark in field.metadata if isinstance(mark, Lt)]
    about = option_of(record, name)
    default = None if field.default is PydanticUndefined else field.default
    kind, choices = _kind(name, plain, marks, about)
    return FormField(
        name=name,
        kind=kind,
        annotation=field.annotation,
        metadata=tuple(field.metadata),
        about=about,
        help=field.description or "",
        default=default,
        choices=tuple(controls or ()) if kind == "several" else choices,
        whole=plain is int,
        least=float(cast(float, bottoms[0])) if bottoms else None,
        most=tops[0] if tops else None,
        optional=optional,
    )


def is_a_place(field: FormField) -> bool:
    """Whether a setting says where the server keeps things: that is the server's own affair."""
    return field.kind == "file" and field.about.changes == "speed"


def idle_settings(
    record: type[Settings], fields: Sequence[FormField], preset: Mapping[str, Any], said: Mapping[str, Any]
) -> dict[str, str]:
    """Setting → why it has no effect at present, for those that have none."""
    values = {name: field.default for name, field in record.model_fields.items()}
    settings = resolve({**preset, "clip": "clip"}, {})  # controls are records there
    values |= {name: getattr(settings, name) for name in Settings.model_fields}
    for field in fields:
        if field.name in said:
            try:
                values[field.name] = field.checked(said[field.name])
            except UserError:
                continue  # what is wrong is said when the job begins
    now = record.model_construct(**values)
    found = {}
    for field in fields:
        reasons = [reason.because for reason in field.about.inactive if reason.when(now)]
        only = field.about.only
        if only is not None and not only.holds(now):
            reasons.append(only.complaint.format(name="it"))
        if reasons:
            found[field.name] = reasons[0]
    return found


def _plain(annotation: Any) -> tuple[Any, bool]:
    """The type without `| None`, and whether None may be; a union of several counts as text."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation, False
    parts = [part for part in get_args(annotation) if part is not type(None)]
    return (parts[0] if len(parts) == 1 else str), len(parts) < len(get_args(annotation))


def _kind(name: str, plain: Any, marks: list[OneOf], about: Option) -> tuple[Kind, tuple[str, ...]]:
    origin = get_origin(plain)
    if marks:
        return "choice", tuple(marks[0])
    if origin is Literal:
        return "choice", tuple(map(str, get_args(plain)))
    if plain is bool:
        return "switch", ()
    if plain in (int, float) and not about.also:
        return "number", ()
    if plain is Path:
        return "file", ()
    if name == "guidance":
        return "several", ()
    if origin is list:
        return "words", ()
    return ("pairs", ()) if origin is dict else ("text", ())
