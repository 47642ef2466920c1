"""Flags that the commands for still pictures share, and their settings."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from masactrl_video.cli.control_flags import Pairs, controls_from
from masactrl_video.cli.options import add_settings
from masactrl_video.cli.say import add_json, say, say_json, teller
from masactrl_video.errors import UserError
from masactrl_video.settings.agreement import INVERTIBLE
from masactrl_video.settings.fields import Command, settings_for
from masactrl_video.settings.presets import DEFAULT_PRESET, read_config, read_preset
from masactrl_video.settings.stills import StillSettings, resolve_stills

logger = logging.getLogger(__name__)


class _Pictures(argparse.Action):
    """KIND=PICTURE, several and repeatable, into lists by kind."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        lists: dict[str, list[Path]] = {kind: [*paths] for kind, paths in (getattr(namespace, self.dest) or {}).items()}
        for text in values:
            kind, equals, path = text.partition("=")
            if not (kind and equals and path):
                raise UserError(f"{option_string}: got {text!r}; write it as {self.metavar}")
            lists.setdefault(kind, []).append(Path(path))
        setattr(namespace, self.dest, lists)


def add_still_settings(
    parser: argparse.ArgumentParser, command: Command, several: bool = True, by_hand: Collection[str] = ()
) -> None:
    """Flags of still pictures.

    Args:
        several: whether it makes several targets.
        by_hand: settings for which the command has arguments of its own.
    """
    names = settings_for(StillSettings, command)
    targets = parser.add_argument_group("targets")
    more: dict[str, Any] = {"nargs": "+", "action": "extend"} if several else {"nargs": 1}
    targets.add_argument(
        "--prompt", dest="prompts", metavar="TEXT", help="what each target shows" if several else "its prompt", **more
    )
    if "seeds" in names:
        targets.add_argument(
            "--seed", dest="seeds", type=int, metavar="N", help="of the initial noise (default: 0)", **more
        )
    if "source_guidance" in names:
        targets.add_argument(
            "--source-guidance",
            action=Pairs,
            metavar="KIND=PICTURE",
            help="guidance picture of a generated source; of kind pose also a pose's name, or its JSON",
        )
    targets.add_argument(
        "--target-guidance",
        nargs="+",
        action=_Pictures,
        metavar="KIND=PICTURE",
        help="guidance pictures of the targets: one of a kind for all, or one for each; of kind pose also a pose's "
        "name (e.g. pose=waving), or its JSON; without any picture guidance is off",
    )
    add_settings(parser, command, StillSettings, by_hand)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the pictures and their sheet")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output and begin anew")
    add_json(parser)


def still_settings_from(arguments: argparse.Namespace, *, inverts: bool = False) -> StillSettings:
    """Preset or configuration file, then the flags that were given.

    Args:
        inverts: a preset's scheduler that cannot invert a picture gives way to ddim.

    Raises:
        UserError: an unknown preset, values that do not go together, or files that are not there.
    """
    base = (
        read_config(arguments.config, StillSettings)
        if arguments.config
        else read_preset(arguments.preset or DEFAULT_PRESET)
    )
    if inverts and not arguments.config and base.get("scheduler", "ddim") not in INVERTIBLE:
        logger.info("scheduler: ddim, which can invert a picture, in the place of the preset's %s", base["scheduler"])
        base["scheduler"] = "ddim"
    given = vars(arguments)
    changes = {name: given[name] for name in StillSettings.model_fields if given.get(name) is not None}
    changes |= controls_from(base, given, changes.get("guidance", base.get("guidance")))
    settings = resolve_stills(base, changes)
    from masactrl_video.jobs.run.still_folder import check_files  # the commands' own modules load torch and diffusers

    check_files(arguments.output, settings, arguments.overwrite)
    return settings


def make_stills(
    make: Callable[..., object], settings: StillSettings, arguments: argparse.Namespace, figures: Path | None = None
) -> int:
    """Run one of the commands as the flags of `add_still_settings` say, and say where its sheet is.

    Args:
        make: of the command.
        figures: the file of figures that it may leave, which is said too.
    """
    make(settings, arguments.output, overwrite=arguments.overwrite, tell=teller(arguments))
    sheet, measured = arguments.output / "sheet.png", figures is not None and figures.exists()
    if arguments.json:
        more = {"figures": str(figures)} if measured else {}
        say_json({"result": {"sheet": str(sheet), "folder": str(arguments.output), **more}})
    else:
        say(f"{sheet}\n{figures}" if measured else sheet)
    return 0
