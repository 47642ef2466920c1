"""The attention modes there are, by name: ours, and those of other packages."""

from __future__ import annotations

from functools import cache
from pkgutil import resolve_name

from masactrl_video.attention.modes.base import AttentionMode
from masactrl_video.errors import UserError
from masactrl_video.plugins import load_plugin
from masactrl_video.settings.modes import OWN_MODES, needs_of


@cache
def mode_named(name: str) -> AttentionMode:
    """The mode; an entry point may lead to one, or to a class that makes one.

    Raises:
        UserError: there is no mode of that name, or what a package calls so is none.
    """
    needs_of(name)
    found = resolve_name(OWN_MODES[name].place) if name in OWN_MODES else load_plugin("modes", name)
    mode: object = found() if isinstance(found, type) else found
    if not isinstance(mode, AttentionMode):
        raise UserError(f"attention_mode {name}: a {type(mode).__name__} is no mode; it needs name, needs and attend")
    return mode
