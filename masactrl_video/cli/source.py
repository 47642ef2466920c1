"""`masactrl-video source`."""

from __future__ import annotations

import argparse
from pathlib import Path

from masactrl_video.cli.options import add_settings, settings_from


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    add_settings(
        parser,
        groups=("clip", "guidance", "model", "prompt", "source", "attention", "work"),
        without=("noise", "mask_threshold", "batch_size", "chunk_frames"),
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="the source image (.png)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing picture")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    settings = settings_from(arguments)
    from masactrl_video.stages.alone import record_source_of

    entry = record_source_of(settings, arguments.output, overwrite=arguments.overwrite)
    print(f"{arguments.output}; recorded as cache entry {entry}")
    return 0
