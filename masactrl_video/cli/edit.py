"""`masactrl-video edit`."""

from __future__ import annotations

import argparse
from pathlib import Path

from masactrl_video.cli.still_flags import add_still_settings, make_stills, still_settings_from


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "source_image", nargs="?", type=Path, metavar="picture", help="picture to change (or in the configuration)"
    )
    add_still_settings(parser, "edit", by_hand=("source_image",))


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    settings = still_settings_from(arguments, inverts=True)
    from masactrl_video.jobs.synthesize import edit

    return make_stills(edit, settings, arguments)
