"""What is known of a setting beside its type and limits, said once, where the setting stands.

Flags and their help, story keys, sweeps, resume checks, messages and the JSON Schema are all derived from it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

if TYPE_CHECKING:  # the records are made of these
    from masactrl_video.settings.settings import Settings

# fmt: off
Group = Literal[
    "clip", "guidance", "model", "prompt", "source", "attention", "work", "speed", "engine", "output",
    "targets", "inversion", "grid", "methods", "sprites",
]
# fmt: on
"""Under which the command line, and a form, list a setting."""

Changes = Literal["source", "frames", "file", "speed"]
"""What another value changes: the recorded source, and so the frames; the frames alone; only files that are made of
finished frames; or no picture at all, only how fast it comes, in how much memory, and where things are kept."""

# fmt: off
Command = Literal[
    "render", "animate", "frames", "guidance", "encode", "source record", "source make",
    "pose extract", "pose show", "pose convert", "pose smooth", "pose retarget", "pose tween",
    "synthesize", "edit", "sweep", "compare", "comic", "story", "sprites",
]
# fmt: on
"""Where a setting can be said: a command, or `story`, which is a comic's file."""

Commands = frozenset[Command]

VIDEOS: Commands = frozenset({"render", "animate"})
STILLS: Commands = frozenset({"synthesize", "edit", "sweep", "compare"})
COMICS: Commands = frozenset({"comic", "story"})
SPRITES: Commands = frozenset({"sprites"})
RECORD: Commands = frozenset({"source record"})
MAKE: Commands = frozenset({"source make"})

READ_CLIPS: Commands = VIDEOS | RECORD | {"frames", "guidance", "encode"}
"""Take a clip."""
SELECT_FRAMES: Commands = READ_CLIPS | {"pose extract"}
FIT_FRAMES: Commands = VIDEOS | RECORD | STILLS | MAKE | SPRITES | {"frames", "guidance"}
"""Bring pictures to the model's size."""
DRAW_GUIDANCE: Commands = VIDEOS | RECORD | {"guidance"}
CLEAN_POSES: Commands = DRAW_GUIDANCE | {"pose extract", "pose smooth"}
DETECT_POSES: Commands = DRAW_GUIDANCE | {"pose extract", "pose retarget"}
READ_POSES: Commands = DRAW_GUIDANCE | {"pose show", "pose convert", "pose smooth", "pose retarget", "pose tween"}
RETARGET_POSES: Commands = DRAW_GUIDANCE | SPRITES | {"pose retarget"}
OPEN_MODELS: Commands = FIT_FRAMES | COMICS
DENOISE: Commands = VIDEOS | RECORD | STILLS | MAKE | COMICS | SPRITES
ON_ENGINES: Commands = VIDEOS | COMICS | SPRITES | {"sweep"}
ATTEND: Commands = DENOISE - MAKE
DECODE: Commands = ATTEND - RECORD
"""Make pictures against a source."""


@dataclass(frozen=True)
class Inactive:
    """A reason why a setting has no effect: who names the setting then is told."""

    because: str
    when: Callable[[Settings], bool]


@dataclass(frozen=True)
class OnlyWhen:
    """A condition without which a setting has to keep its default, in a preset too."""

    complaint: str
    """With `{name}`."""
    holds: Callable[[Settings], bool]


@dataclass(frozen=True)
class Option:
    """The description of a setting; pydantic keeps it, and calls it to add to the field's JSON Schema."""

    group: Group
    changes: Changes
    commands: Commands
    inactive: tuple[Inactive, ...] = ()
    only: OnlyWhen | None = None
    sweepable: bool = False
    """Whether a grid may vary it: it needs neither another model nor another size."""
    by_hand: bool = False
    """Whether the command line says it by something else than a flag of its name."""
    fixed_by_character: bool = False
    """Whether a saved character was made with it, and only fits frames that have the same."""
    keeps_panels: bool = False
    """Whether a comic's finished panels stay when it changes, or say it themselves."""
    also: tuple[str, ...] = ()
    """Words that may stand for a value of its type."""

    def __call__(self, schema: dict[str, Any]) -> None:
        """Add what a form can use."""
        schema.update(group=self.group, changes=self.changes, commands=sorted(self.commands), sweepable=self.sweepable)
        if self.inactive:
            schema["inactiveWhen"] = [reason.because for reason in self.inactive]
        if self.only is not None:
            schema["onlyWhen"] = self.only.complaint.format(name="it")
        if self.also:
            schema["anyOf"] = [*schema["anyOf"], {"enum": list(self.also)}]


@dataclass(frozen=True)
class OneOf:
    """Marks a text that is one of some names, to which other packages may add: as if it were a Literal of all."""

    own: tuple[str, ...]
    """Our names; others are looked for only where a text is none of these."""
    all: Callable[[], tuple[str, ...]]

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self.all()

    def __iter__(self) -> Iterator[str]:
        return iter(self.all())

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "enum": list(self)}

    def _checked(self, name: str) -> str:
        if name in self:
            return name
        *most, last = (repr(name) for name in self)
        raise PydanticCustomError("literal_error", "Input should be {names}", {"names": f"{', '.join(most)} or {last}"})


class Part(BaseModel):
    """Settings that belong together; kinds of them, with what those have in common, stand above each part."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


def option(
    group: Group,
    help: str,
    default: Any = ...,
    *,
    changes: Changes,
    commands: Commands,
    inactive: tuple[Inactive, ...] = (),
    only: OnlyWhen | None = None,
    sweepable: bool = False,
    by_hand: bool = False,
    fixed_by_character: bool = False,
    keeps_panels: bool = False,
    also: tuple[str, ...] = (),
    **limits: Any,
) -> Any:
    """A setting: its help text, its default, its limits, and the rest of what must be known of it (see `Option`)."""
    about = Option(group, changes, commands, inactive, only, sweepable, by_hand, fixed_by_character, keeps_panels, also)
    return Field(default=default, description=help, json_schema_extra=about, **limits)


def option_of(record: type[BaseModel], name: str) -> Option:
    """The description of a setting.

    Raises:
        TypeError: it has none.
    """
    field: FieldInfo = record.model_fields[name]
    if not isinstance(field.json_schema_extra, Option):
        raise TypeError(f"{record.__name__}.{name}: nothing is known of this setting; describe it with option(…)")
    return field.json_schema_extra


def settings_where(record: type[BaseModel], holds: Callable[[Option], Collection[Any] | bool | None]) -> list[str]:
    """Names of the settings whose description has a property, in their order."""
    return [name for name in record.model_fields if holds(option_of(record, name))]


def settings_for(record: type[BaseModel], command: Command) -> list[str]:
    """Names of the settings that can be said there, in their order."""
    return settings_where(record, lambda about: command in about.commands)
