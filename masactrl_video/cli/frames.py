"""`masactrl-video frames`."""

from __future__ import annotations

import argparse
from pathlib import Path

from masactrl_video.cli.options import add_settings, settings_from
from masactrl_video.cli.say import say
from masactrl_video.errors import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    add_settings(parser, "frames")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the pictures; it must not exist")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    settings = settings_from(arguments)
    from masactrl_video.jobs.single_stages import write_frames

    count = write_frames(settings, arguments.output)
    say(f"{arguments.output}: {counted(count, 'frame')}")
    return 0
