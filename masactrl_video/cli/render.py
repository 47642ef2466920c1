"""`masactrl-video render`."""

from __future__ import annotations

import argparse
from pathlib import Path

from masactrl_video.cli.options import add_settings, settings_from
from masactrl_video.cli.say import add_json, say, say_json, teller
from masactrl_video.settings.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    add_settings(parser, "render")
    add_output(parser)


def add_output(parser: argparse.ArgumentParser) -> None:
    """Flags that say where a video goes, and how that is reported."""
    parser.add_argument("-o", "--output", type=Path, required=True, help="video: .mp4, .mov, .mkv, .webm or .gif")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an existing output, once the new one is whole"
    )
    parser.add_argument(
        "--restart",
        action="store_true",
        help="discard an unfinished run of this output, also one with other settings, and begin anew",
    )
    add_json(parser)


def run(arguments: argparse.Namespace, settings: Settings | None = None) -> int:
    """Run the command, by default with the settings that its flags say."""
    from masactrl_video.jobs.render_clip import render_clip

    outputs = render_clip(
        settings or settings_from(arguments),
        arguments.output,
        overwrite=arguments.overwrite,
        restart=arguments.restart,
        tell=teller(arguments),
    )
    if arguments.json:
        say_json({"result": {"video": str(outputs.video), "folder": str(outputs.folder)}})
    else:
        say(f"{outputs.video} (and everything that belongs to it in {outputs.folder}/)")
    return 0
