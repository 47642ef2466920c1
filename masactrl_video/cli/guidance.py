"""`masactrl-video guidance`."""

from __future__ import annotations

import argparse
from pathlib import Path

from masactrl_video.cli.options import add_settings, settings_from
from masactrl_video.cli.say import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    add_settings(parser, "guidance")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="folder for guidance pictures, videos and poses"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing videos")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    settings = settings_from(arguments)
    from masactrl_video.jobs.single_stages import write_guidance

    for kind, folder in write_guidance(settings, arguments.output, overwrite=arguments.overwrite).items():
        say(f"{kind}: {folder}")
    return 0
