"""`masactrl-video encode`."""

from __future__ import annotations

import argparse
from pathlib import Path

from masactrl_video.cli.options import add_settings, settings_from
from masactrl_video.cli.say import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    add_settings(parser, "encode")
    parser.add_argument("--frames", type=Path, required=True, help="folder with a picture for each frame taken")
    parser.add_argument("-o", "--output", type=Path, required=True, help="video: .mp4, .mov, .mkv, .webm or .gif")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    settings = settings_from(arguments)
    from masactrl_video.jobs.single_stages import encode_frames

    encode_frames(settings, arguments.frames, arguments.output, overwrite=arguments.overwrite)
    say(arguments.output)
    return 0
