"""`masactrl-video sprites`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from masactrl_video.cli.control_flags import controls_from
from masactrl_video.cli.options import add_settings
from masactrl_video.cli.say import add_json, say, say_json, teller
from masactrl_video.settings.presets import DEFAULT_PRESET, read_config, read_preset
from masactrl_video.settings.sprites import SpriteSettings, resolve_sprites


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "character",
        nargs="?",
        metavar="CHARACTER",
        help="a saved character (masactrl-video source make); or give --prompt",
    )
    add_settings(parser, "sprites", SpriteSettings, by_hand={"character"})
    parser.add_argument("-o", "--output", type=Path, required=True, help="the sheet: .png")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing sheet; frames that fit are kept")
    parser.add_argument("--restart", action="store_true", help="discard the frames of an earlier or unfinished run")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    settings = _settings(arguments)
    from masactrl_video.jobs.sprites.sprites import make_sprites

    outputs = make_sprites(
        settings,
        arguments.output,
        overwrite=arguments.overwrite,
        restart=arguments.restart,
        tell=teller(arguments),
    )
    if arguments.json:
        say_json({"result": {"sheet": str(outputs.sheet), "folder": str(outputs.folder)}})
    else:
        say(f"{outputs.sheet} (and everything that belongs to it in {outputs.folder}/)")
    return 0


def _settings(arguments: argparse.Namespace) -> SpriteSettings:
    """Preset or an earlier run's configuration, then the flags. A preset's own prompt is of another character."""
    if arguments.config:
        base: dict[str, Any] = read_config(arguments.config, SpriteSettings)
    else:
        base = read_preset(arguments.preset or DEFAULT_PRESET)
        base.pop("prompt", None)
        named = arguments.controlnet or arguments.t2i_adapter or arguments.reference_picture
        if arguments.guidance is None and not named:
            base["guidance"] = ["pose"]
    given = vars(arguments)
    changes = {name: given[name] for name in SpriteSettings.model_fields if given.get(name) is not None}
    changes |= controls_from(base, given, changes.get("guidance", base.get("guidance")))
    return resolve_sprites(base, changes)
