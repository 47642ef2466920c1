"""Flags that take pairs, and those that name guidance networks, their weights and ranges."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from masactrl_video.errors import UserError, counted


class Pairs(argparse.Action):
    """NAME=VALUE, repeatable, into a dict; a LoRA's scale may be left out."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if self.dest == "lora":
            name, equals, value = values.rpartition("=")  # paths may hold one too
            name, value = (name, value) if equals else (values, "1.0")
        else:
            name, equals, value = values.partition("=")
        if not name or not value:
            raise UserError(f"{option_string}: got {values!r}; write it as {self.metavar}")
        pairs = dict(getattr(namespace, self.dest) or {})
        if name in pairs:
            raise UserError(f"{option_string}: {name!r} is given twice")
        setattr(namespace, self.dest, {**pairs, name: value})


def add_control_flags(section: Any, weights: bool) -> None:
    """Flags that name networks or reference pictures and, with `weights`, what is said of each control in use."""
    for flag, what in (("controlnet", "ControlNet"), ("t2i-adapter", "T2I-Adapter")):
        section.add_argument(
            f"--{flag}",
            action=Pairs,
            metavar="KIND=MODEL",
            help=f"use this {what} for a kind of guidance (repeatable)",
        )
    section.add_argument(
        "--reference-picture",
        nargs="+",
        metavar="KIND",
        help="FLUX.2: the model itself reads the pictures of this guidance, such as pose, as reference pictures",
    )
    for name, what in _WEIGHTS if weights else ():
        section.add_argument(
            f"--{name}",
            nargs="+",
            type=float,
            metavar="X",
            help=f"{what}, for each control in use (one value: for all)",
        )


_WEIGHTS = (
    ("controlnet-conditioning-scale", "weight"),
    ("control-guidance-start", "fraction of the steps at which it begins to act"),
    ("control-guidance-end", "fraction of the steps at which it stops acting"),
)


def controls_from(base: Mapping[str, Any], given: Mapping[str, Any], in_use: Any) -> dict[str, Any]:
    """Changes to `controls` and `guidance` from the flags that name networks, weights and ranges."""
    named: dict[str, dict[str, Any]] = {}
    for kind, model in (given.get("controlnet") or {}).items():
        named[kind] = {"kind": kind, "adapter": "controlnet", "model": model}
    for kind, model in (given.get("t2i_adapter") or {}).items():
        named[f"t2i-{kind}"] = {"kind": kind, "adapter": "t2i-adapter", "model": model}
    for kind in given.get("reference_picture") or ():
        if kind in named:
            raise UserError(f"--reference-picture: {kind!r} was given a network too; name one way")
        named[kind] = {"kind": kind, "adapter": "reference"}
    if named and given.get("guidance") is None:
        in_use = list(named)
    in_use = in_use if isinstance(in_use, list) else []  # validation says what is wrong with anything else
    if idle := [name for name in named if name not in in_use]:
        raise UserError(f"--guidance: {idle[0]!r} was given a network, but is not named here")
    before = base["controls"] if isinstance(base.get("controls"), dict) else {}
    controls = {**before, **named}
    names = [name for name in in_use if isinstance(name, str) and isinstance(controls.get(name), dict)]
    for key, flag in (
        ("scale", "controlnet_conditioning_scale"),
        ("start", "control_guidance_start"),
        ("end", "control_guidance_end"),
    ):
        for name, value in zip(names, _one_each(flag, given.get(flag), len(names)), strict=False):
            controls[name] = {**controls[name], key: value}
    changed = {name: controls[name] for name in controls if controls[name] != before.get(name)}
    return {"controls": changed, "guidance": in_use} if named or changed else {}


def _one_each(flag: str, values: Sequence[float] | None, count: int) -> Iterable[float]:
    if values is None:
        return ()
    if count == 0 or len(values) not in (1, count):
        raise UserError(
            f"--{flag.replace('_', '-')}: got {counted(len(values), 'value')} for "
            f"{counted(count, 'control')}; give one, or one for each"
        )
    return [*values] * count if len(values) == 1 else values
