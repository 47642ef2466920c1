"""`masactrl-video render`."""

from __future__ import annotations

import argparse
from pathlib import Path

from masactrl_video.cli.options import add_settings, settings_from
from masactrl_video.cli.say import say, say_json
from masactrl_video.settings.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    add_settings(parser)
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
    parser.add_argument(
        "--json",
        action="store_true",
        help="progress and result for other programs: one JSON object a line on stdout",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    return render(settings_from(arguments), arguments)


def render(settings: Settings, arguments: argparse.Namespace) -> int:
    """Render as the flags of `add_output` say."""
    from masactrl_video.stages.render_clip import render_clip

    outputs = render_clip(
        settings,
        arguments.output,
        overwrite=arguments.overwrite,
        restart=arguments.restart,
        tell=say_json if arguments.json else lambda event: None,
    )
    if arguments.json:
        say_json({"result": {"video": str(outputs.video), "folder": str(outputs.folder)}})
    else:
        say(f"{outputs.video} (and everything that belongs to it in {outputs.folder}/)")
    return 0
