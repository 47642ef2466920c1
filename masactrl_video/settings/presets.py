"""Presets and configuration files: YAML in, validated settings out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from reprlib import Repr
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from masactrl_video.errors import UserError
from masactrl_video.settings.inactive import refuse_idle
from masactrl_video.settings.settings import Settings
from masactrl_video.settings.yaml_file import read_yaml

logger = logging.getLogger(__name__)

DEFAULT_PRESET = "demo"

S = TypeVar("S", bound=Settings)


def preset_folder() -> Path:
    """Where the presets lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def preset_names() -> list[str]:
    """Names of the presets that ship with the package."""
    return sorted(path.stem for path in preset_folder().glob("*.yaml"))


def read_preset(name: str) -> dict[str, Any]:
    """Settings of a shipped preset.

    Raises:
        UserError: there is no such preset.
    """
    if name not in preset_names():
        raise UserError(
            f"preset: there is no {name!r}; there are: {', '.join(preset_names())}; for a file use --config"
        )
    return read_config(preset_folder() / f"{name}.yaml")


def read_config(path: Path, record: type[BaseModel] = Settings) -> dict[str, Any]:
    """Settings from a YAML file: a mapping of setting to value, with text as it was written where text is wanted.

    Args:
        record: whose fields the values are for.

    Raises:
        UserError: no such file, not YAML, not a mapping, or a key that stands twice.
    """
    return read_yaml(path, record)


def resolve(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Settings:
    """Settings of a render from a preset and what the user changed; `controls` are merged by name.

    Raises:
        UserError: an unknown setting, a value that it cannot have, or a change without effect.
    """
    return resolve_as(Settings, base, with_scaled_step(base, changes))


def with_scaled_step(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Changes to the number of steps take S along, at the same fraction of the schedule, unless S is given too.

    Half a step is rounded up, and an S above 0 stays above it: the first step, which fixes the layout, stays the
    target's own, unless it is the only one. What is done is logged.
    """
    if "num_inference_steps" not in changes or {"masa_step", "masa_steps"} & set(changes) or base.get("masa_steps"):
        return changes
    old_steps, old = (
        base.get(name, Settings.model_fields[name].default) for name in ("num_inference_steps", "masa_step")
    )
    try:
        steps, old_steps, old = int(changes["num_inference_steps"]), int(old_steps), int(old)
    except (TypeError, ValueError):  # for validation to say what is wrong
        return changes
    if min(steps, old_steps, old) <= 0:
        return changes
    new = max(1, int(old * steps / old_steps + 0.5))
    if old < old_steps:
        new = min(new, steps - 1)  # an S behind the last step would be no control
    if new == old:
        return changes
    logger.info("masa_step: %d of %d steps becomes %d of %d; --masa-step sets it", old, old_steps, new, steps)
    return {**changes, "masa_step": new}


def resolve_as(kind: type[S], base: Mapping[str, Any], changes: Mapping[str, Any]) -> S:
    """The same for settings of another kind.

    Raises:
        UserError: an unknown setting, a value that it cannot have, or a change without effect.
    """
    merged = {**base, **changes}
    own = base.get("controls", {})
    if isinstance(own, dict) and isinstance(changes.get("controls"), dict):
        merged["controls"] = {**own, **changes["controls"]}
    elif not isinstance(own, dict):
        merged["controls"] = own  # for validation to say what is wrong
    settings = checked(kind, merged)
    refuse_idle(settings, changes)
    return settings


def checked(kind: type[S], values: Mapping[str, Any]) -> S:
    """Settings of these values.

    Raises:
        UserError: one that they cannot have, or that does not go with another.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UserError(_one_line(error)) from error


def _one_line(error: ValidationError) -> str:
    """The first problem, with the setting's name, what was given and what is allowed."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{where}: there is no such setting; see masactrl-video render --help"
    if first["type"] == "missing":
        flag = {"clip": "name it on the command line", "model": "give --model"}.get(where, "it belongs there")
        return f"{where}: missing; {flag}, or set it in the configuration"
    message = first["msg"].removeprefix("Value error, ")
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    is_whole = first["type"] == "value_error"  # the message names the settings that disagree
    got = "" if is_whole else f"got {short(first['input'])}; "
    return f"{where}: {got}{message}{more}" if where else f"{message}{more}"


class _Short(Repr):
    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if x.bit_length() < 1000 else f"a number of {x.bit_length()} bits"


_SHORT = _Short()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 100, 100


def short(value: object) -> str:
    """A value as a message shows it: a few lines of YAML can stand for one of gigabytes."""
    return _SHORT.repr(value)


def shortened(text: str, most: int = 300) -> str:
    """A text without its end where it is long."""
    return text if len(text) <= most else f"{text[:most].rstrip()} …"
