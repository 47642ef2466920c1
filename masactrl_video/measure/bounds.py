"""Bounds that figures must keep, for machines that test every change."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from masactrl_video.errors import UserError
from masactrl_video.measure.definitions import DEFINITIONS
from masactrl_video.measure.figure import Measured
from masactrl_video.settings.yaml_file import read_yaml


class _AnyKeys(BaseModel):
    """A mapping whose keys are looked at here."""


@dataclass(frozen=True)
class Bound:
    """What a figure may be."""

    name: str
    at_least: float = -math.inf
    at_most: float = math.inf

    def missed(self, measured: Measured) -> str | None:
        """Why a clip misses it; None if it does not."""
        figure = measured.figure(self.name)
        if figure is None:
            return f"{measured.label}: {self.name} was not measured, but has a bound"
        value = figure.value
        if self.at_least <= value <= self.at_most:
            return None
        allowed = [
            f"{word} {bound:g}"
            for word, bound in (("at least", self.at_least), ("at most", self.at_most))
            if math.isfinite(bound)
        ]
        return f"{measured.label}: {self.name} is {value:.6g}; {' and '.join(allowed)} is asked for"


def read_bounds(path: Path) -> list[Bound]:
    """Bounds from a YAML or JSON file: `name: number`, or `name: {min: number, max: number}`.

    A number alone is the worst value allowed: the most where lower is better, the least where higher is.

    Raises:
        UserError: no such file, an unknown figure, or a bound that is none.
    """
    data = read_yaml(path, _AnyKeys)
    if not data:
        raise UserError(f"{path}: no bound in it; write figure: number, e.g. warp-error: 0.01")
    return [_bound(path, str(name), given) for name, given in data.items()]


def _bound(path: Path, name: str, given: Any) -> Bound:
    if name not in DEFINITIONS:
        near = difflib.get_close_matches(name, DEFINITIONS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(DEFINITIONS)}"
        raise UserError(f"{path}: there is no figure {name!r}; {hint}")
    if isinstance(given, Mapping):
        if not given or not given.keys() <= {"min", "max"}:
            raise UserError(f"{path}: {name}: allowed are min and max, got {', '.join(map(str, given)) or 'nothing'}")
        numbers = {word: _number(path, name, value) for word, value in given.items()}
        return Bound(name, numbers.get("min", -math.inf), numbers.get("max", math.inf))
    number = _number(path, name, given)
    match DEFINITIONS[name].better:
        case "higher":
            return Bound(name, at_least=number)
        case "lower":
            return Bound(name, at_most=number)
        case "nearer to 0":
            return Bound(name, -abs(number), abs(number))
    raise UserError(f"{path}: {name}: neither high nor low is better; write {{min: {number:g}}} or {{max: {number:g}}}")


def _number(path: Path, name: str, given: Any) -> float:
    try:
        number = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError):
        number = math.nan
    if math.isnan(number):
        raise UserError(f"{path}: {name}: a number is wanted, got {given!r}")
    return number
