"""`masactrl-video render`."""

from __future__ import annotations

import argparse
from pathlib import Path

from masactrl_video.cli.options import add_settings, settings_from


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    add_settings(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, help="video: .mp4, .mov, .mkv, .webm or .gif")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an existing output, once the new one is whole"
    )
    parser.add_argument(
        "--restart",
        action="store_true",
        help="discard an unfinished run of this output, also one with other settings, and begin anew",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    settings = settings_from(arguments)
    from masactrl_video.stages.render_clip import render_clip

    outputs = render_clip(settings, arguments.output, overwrite=arguments.overwrite, restart=arguments.restart)
    print(f"{outputs.video} (and everything that belongs to it in {outputs.folder}/)")
    return 0
