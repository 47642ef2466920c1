"""`masactrl-video evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from masactrl_video.cli.options import add_flag
from masactrl_video.errors import UserError
from masactrl_video.settings.engine_parts import EngineSettings
from masactrl_video.settings.presets import read_preset, resolve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="folder for the table, the values and the sheet"
    )
    parser.add_argument(
        "--model", default="demo", help="a model of the cartoon world: demo, demo-dit, or the folder of a training"
    )
    parser.add_argument("--cases", type=int, metavar="N", help="held-out characters (default: 24; with --panels 4)")
    parser.add_argument("--world", choices=("small", "full"), default="small", help="what the model was trained on")
    parser.add_argument(
        "--no-curves", action="store_true", help="leave out the curves over S and L, which take longest"
    )
    parser.add_argument(
        "--panels",
        action="store_true",
        help="instead: characters in 20 comic panels against a clip, and two in one panel against alone",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing folder's files")
    section = parser.add_argument_group("engine")
    for name, setting in EngineSettings.model_fields.items():
        add_flag(section, name, setting, {})


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    if arguments.cases is None:
        arguments.cases = 4 if arguments.panels else 24
    if arguments.cases < 1:
        raise UserError(f"--cases: got {arguments.cases}; give 1 or more")
    given = {name: value for name in EngineSettings.model_fields if (value := vars(arguments)[name]) is not None}
    if arguments.panels:
        if given:
            raise UserError(f"--{next(iter(given)).replace('_', '-')}: --panels runs in this process; leave it out")
        return _run_panels(arguments)
    engine = resolve(read_preset("demo"), {"clip": "evaluation", **given})
    from masactrl_video.evaluate.evaluate import evaluate

    table = evaluate(
        arguments.output,
        model=arguments.model,
        cases=arguments.cases,
        world=arguments.world,
        curves=not arguments.no_curves,
        overwrite=arguments.overwrite,
        engine=engine,
    )
    print(table)
    return 0


def _run_panels(arguments: argparse.Namespace) -> int:
    if arguments.no_curves:
        raise UserError("--no-curves: it would have no effect with --panels; leave it out")
    from masactrl_video.evaluate.panels import evaluate_panels

    table = evaluate_panels(
        arguments.output,
        model=arguments.model,
        actors=arguments.cases,
        world=arguments.world,
        overwrite=arguments.overwrite,
    )
    print(table)
    return 0
