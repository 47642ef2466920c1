"""`masactrl-video schema`."""

from __future__ import annotations

import argparse
import json

from masactrl_video.cli.say import say
from masactrl_video.page.story import story_schema
from masactrl_video.settings.schema import settings_schema


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "of",
        nargs="*",
        metavar="COMMAND",
        help="whose settings, e.g. render or pose extract; story: a comic's file (default: a configuration file)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    named = " ".join(arguments.of) or None
    schema = story_schema() if named == "story" else settings_schema(named)
    say(json.dumps(schema, indent=1, ensure_ascii=False))
    return 0
