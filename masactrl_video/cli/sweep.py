"""`masactrl-video sweep`."""

from __future__ import annotations

import argparse
from functools import partial

from masactrl_video.cli.still_flags import add_still_settings, make_stills, still_settings_from
from masactrl_video.settings.names import OWN_MODELS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    add_still_settings(parser, "sweep", several=False)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    settings = still_settings_from(arguments)
    from masactrl_video.jobs.sweep import sweep

    if settings.model not in OWN_MODELS:
        return make_stills(sweep, settings, arguments)
    from masactrl_video.evaluate.sweep import write_figures
    from masactrl_video.jobs.run.still_folder import FIGURES

    figures = arguments.output / FIGURES
    measured = partial(sweep, measure=lambda cells: write_figures(cells, figures))
    return make_stills(measured, settings, arguments, figures)
