"""`masactrl-video synthesize`."""

from __future__ import annotations

import argparse

from masactrl_video.cli.still_flags import add_still_settings, make_stills, still_settings_from


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    add_still_settings(parser, "synthesize")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    settings = still_settings_from(arguments)
    from masactrl_video.jobs.synthesize import synthesize

    return make_stills(synthesize, settings, arguments)
