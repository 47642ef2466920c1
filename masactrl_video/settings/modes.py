"""Attention modes as settings and plans know them: their names, and what they need; nothing is computed here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal, get_args

from masactrl_video.errors import UserError
from masactrl_video.plugins import load_plugin, plugin_names
from masactrl_video.settings.fields import OneOf

Need = Literal["own", "masks", "regions"]
"""`own`: keys and values of the frame itself, beside those of the sources; `masks`: where the object is, in the sources
and in the frame, by words or by given pictures; `regions`: which part of the frame belongs to which source."""


@dataclass(frozen=True)
class AboutMode:
    """What is known of one of our modes before anything heavy is imported."""

    place: str
    """Of its class, as entry points write it."""
    needs: frozenset[Need]
    help: str = ""
    """What a frame looks at; empty where no setting can ask for the mode."""


_PLACE = "masactrl_video.attention.modes.own"
OWN_MODES: Mapping[str, AboutMode] = {
    "source": AboutMode(f"{_PLACE}:SourceMode", frozenset(), "the source's keys only (the paper)"),
    "union": AboutMode(f"{_PLACE}:UnionMode", frozenset({"own"}), "the frame's own too"),
    "masked": AboutMode(f"{_PLACE}:MaskedMode", frozenset({"masks"}), "figure to figure, ground to ground"),
    "regions": AboutMode(f"{_PLACE}:RegionsMode", frozenset({"own", "masks", "regions"})),
}
"""`source`: {Q, K_s, V_s} (MasaCtrl, Eq. 5); `union`: {Q, [K; K_s], [V; V_s]}, a target that also keeps its own;
`masked`: figure to figure and ground to ground (Eq. 6-8); `regions`: the same for several figures, each of its own
source, as panels of comics have them."""

WITH_NEIGHBOUR = ("source", "union")
"""Modes in which a frame may attend to the one before too; the others would have to tell its figure apart."""

OWN_NAMES = tuple(name for name, about in OWN_MODES.items() if about.help)
HELP = "; ".join(f"{name}: {OWN_MODES[name].help}" for name in OWN_NAMES)


def mode_names() -> tuple[str, ...]:
    """The modes that a setting can ask for: ours, and those of installed packages. A name that we have is ours."""
    return tuple(dict.fromkeys((*OWN_NAMES, *(name for name in plugin_names("modes") if name not in OWN_MODES))))


_KNOWN = OneOf(OWN_NAMES, mode_names)
Mode = Annotated[str, _KNOWN]
"""Name of an attention mode, in settings."""


def check_mode(name: str) -> None:
    """See that a setting could ask for a mode; callers from Python may have written anything.

    Raises:
        UserError: there is no such mode, or one source is not enough for it.
    """
    if name not in _KNOWN:
        raise UserError(f"attention_mode: got {name!r}; give {', '.join(_KNOWN)}")


def check_neighbour_mode(name: str) -> None:
    """See that a frame may attend to the one before in a mode.

    Raises:
        UserError: it may not.
    """
    if name not in WITH_NEIGHBOUR:
        raise UserError(
            f"neighbour: attention_mode {name} does not know figure and ground of the frame before; take "
            f"{' or '.join(WITH_NEIGHBOUR)}, or leave it out"
        )


def needs_of(name: str) -> frozenset[Need]:
    """What a mode needs.

    Raises:
        UserError: there is no such mode, or it cannot be loaded.
    """
    if isinstance(name, str) and name in OWN_MODES:
        return OWN_MODES[name].needs
    check_mode(name)
    return _needs_of_plugin(name)


@cache
def _needs_of_plugin(name: str) -> frozenset[Need]:
    needs = getattr(load_plugin("modes", name), "needs", None)
    if not isinstance(needs, Collection) or not set(needs) <= set(get_args(Need)):
        raise UserError(f"attention_mode {name}: its needs are {needs!r}; possible are {', '.join(get_args(Need))}")
    return frozenset(needs)
