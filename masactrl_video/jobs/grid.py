"""A grid of settings: two of them, each with the values that it takes along a side."""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from masactrl_video.errors import UserError
from masactrl_video.settings.fields import option_of, settings_where
from masactrl_video.settings.inactive import MASKED
from masactrl_video.settings.modes import needs_of
from masactrl_video.settings.presets import resolve_as
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.stills import StillSettings

_OF_CONTROLS = {
    "controlnet_conditioning_scale": "scale",
    "control_guidance_start": "start",
    "control_guidance_end": "end",
}
"""Names that stand for a setting of all controls in use."""


@dataclass(frozen=True)
class Axis:
    """One side of a grid."""

    name: str
    """Of the setting."""
    values: tuple[str, ...]
    """As they were typed."""

    def labels(self) -> list[str]:
        """A name for each place along the side."""
        return [f"{self.name} = {value or 'none'}" for value in self.values]


NOTHING = Axis("", ("",))
"""A side along which nothing changes."""


def sweepable() -> list[str]:
    """Names of the settings that a grid may vary: those that need neither another model nor another size."""
    names = settings_where(StillSettings, lambda about: about.sweepable)
    names.sort(key=lambda name: option_of(StillSettings, name).group == "model")  # those come last
    return [*names, *_OF_CONTROLS]


def parse_axis(side: str, text: str | None) -> Axis:
    """Read `masa_step=0,2,4`; values that hold commas are separated by `|`. A list's items are separated by spaces.

    Raises:
        UserError: another form, a setting that cannot be swept, or a value that comes twice.
    """
    if text is None:
        return NOTHING
    name, equals, values_text = text.partition("=")
    name = name.strip().removeprefix("--").replace("-", "_")
    if not equals:
        raise UserError(f"{side}: got {text!r}; write a setting and its values, e.g. masa_step=0,2,4")
    if name not in sweepable():
        raise UserError(f"{side}: {name!r} cannot be swept; these can: {', '.join(sweepable())}")
    values = tuple(value.strip() for value in values_text.split("|" if "|" in values_text else ","))
    if len(set(values)) != len(values):
        raise UserError(f"{side}: a value of {name} comes twice in {values_text!r}")
    return Axis(name, values)


def parse_grid(settings: StillSettings) -> tuple[Axis, Axis]:
    """Rows and columns.

    Raises:
        UserError: neither is given, both vary the same, or see `parse_axis`.
    """
    rows, columns = parse_axis("rows", settings.rows), parse_axis("columns", settings.columns)
    if rows == columns == NOTHING:
        raise UserError("rows, columns: missing; name a setting and its values, e.g. --columns masa_layer=0,4,8,10,16")
    if rows.name == columns.name:
        raise UserError(f"rows and columns both vary {rows.name}; name two settings, or leave one out")
    return rows, columns


def cell_settings(settings: StillSettings, given: dict[str, str]) -> StillSettings:
    """Settings of one place in the grid.

    Args:
        settings: of one target.
        given: setting → its value there, as typed.

    Raises:
        UserError: a value that a setting cannot have, or that would have no effect.
    """
    changes: dict[str, Any] = {}
    for name, text in given.items():
        if name in _OF_CONTROLS:
            controls = changes.get("controls") or {
                key: settings.controls[key].model_dump() for key in settings.guidance
            }
            changes["controls"] = {key: {**control, _OF_CONTROLS[name]: text} for key, control in controls.items()}
            if not controls:
                raise UserError(f"{name}: it would have no effect, because no guidance is in use; leave it out")
        else:
            changes[name] = text.split() if _is_list(name) else text
    changes |= {f"{name}s": [changes[name]] for name in ("prompt", "seed") if name in changes}
    if "attention_mode" in changes and "masks" not in needs_of(changes["attention_mode"]):
        of_masks = settings_where(Settings, lambda about: about.only is MASKED)
        changes |= {name: Settings.model_fields[name].default for name in of_masks}  # wait for the masked cells
    return resolve_as(StillSettings, settings.model_dump(), changes)


def _is_list(name: str) -> bool:
    annotation = StillSettings.model_fields[name].annotation
    kinds = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return any(get_origin(kind) is list for kind in kinds)
