"""`masactrl-video measure`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from masactrl_video.cli.say import add_json, say, teller
from masactrl_video.errors import printable
from masactrl_video.settings.names import FitMode

if TYPE_CHECKING:
    from masactrl_video.progress import Event

_GIVEN = ("original", "source", "source_mask", "poses", "result_poses", "masks", "fit")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "result", type=Path, help="video, folder of images, picture, or the folder of a run, which brings the rest"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the page, JSON and CSV")
    parser.add_argument("--overwrite", action="store_true", help="replace a report that is there")
    parser.add_argument(
        "--against", type=Path, nargs="+", default=[], metavar="PATH", help="other results, to stand beside it"
    )
    _add_compared(parser.add_argument_group("what it is compared with"))
    _add_networks(parser.add_argument_group("networks (nothing is needed for the main figures)"))
    parser.add_argument(
        "--fail-below",
        type=Path,
        metavar="FILE",
        help="YAML or JSON of figure: bound, the worst value allowed, or figure: {min: X, max: X}; exit status 1 and a "
        "line for each bound that any result misses",
    )
    add_json(parser)


def _add_compared(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--input",
        dest="original",
        type=Path,
        metavar="PATH",
        help="the clip that it was made from, matched by number or time; for pictures a picture",
    )
    group.add_argument("--source", type=Path, metavar="PATH", help="picture of the character")
    group.add_argument("--source-mask", type=Path, metavar="PATH", help="white where the character is in --source")
    group.add_argument("--poses", type=Path, metavar="PATH", help="pose JSON that the result is to follow")
    group.add_argument("--result-poses", type=Path, metavar="PATH", help="pose JSON of what the result shows")
    group.add_argument(
        "--masks",
        type=Path,
        metavar="PATH",
        help="video, folder or picture, white where the character is: what may be changed",
    )
    group.add_argument(
        "--fit",
        choices=get_args(FitMode),
        help="how frames of another size are brought to the result's (default: crop; in a run's folder the run's)",
    )
    group.add_argument("--loop", action="store_true", help="the last frame leads to the first: measure the seam")
    group.add_argument(
        "--shortest", action="store_true", help="of clips of unlike length take the stretch that both have"
    )


def _add_networks(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--pose-detector", metavar="NAME", help="finds poses that are not given: see `pose extract`")
    group.add_argument("--pose-threshold", type=float, metavar="X", help="of the detector")
    group.add_argument(
        "--raft", type=Path, metavar="FILE", help="safetensors of torchvision's RAFT, in place of OpenCV's DIS"
    )
    group.add_argument("--dino", metavar="MODEL", help="DINO ViT-B/16, folder or hub id: subject consistency")
    group.add_argument(
        "--clip", metavar="MODEL", help="CLIP ViT-B/32, folder or hub id: background consistency, CLIP-F, CLIP-T"
    )
    group.add_argument("--prompt", default="", metavar="TEXT", help="what the result is to show, for CLIP-T")
    group.add_argument("--lpips", type=Path, metavar="FILE", help="safetensors of LPIPS (needs the extra [measure])")
    group.add_argument(
        "--dreamsim", type=Path, metavar="FOLDER", help="weights of DreamSim (needs the extra [measure])"
    )
    group.add_argument("--device", default="cpu", metavar="TEXT", help="for networks (default: cpu)")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from masactrl_video.measure.options import MeasureOptions

    given = vars(arguments)
    options = MeasureOptions(**{name: given[name] for name in MeasureOptions.__dataclass_fields__})
    from masactrl_video.jobs.measure.report import PAGE, measure_report
    from masactrl_video.measure.bounds import read_bounds
    from masactrl_video.measure.report.data import as_number
    from masactrl_video.measure.report.lines import lines_of
    from masactrl_video.progress import watching

    bounds = read_bounds(arguments.fail_below) if arguments.fail_below is not None else []
    tell = teller(arguments)
    with watching(partial(_tell_progress, tell)):
        compared = measure_report(
            arguments.result,
            arguments.output,
            against=arguments.against,
            changes={name: given[name] for name in _GIVEN},
            options=options,
            overwrite=arguments.overwrite,
        )
    page = arguments.output / PAGE
    figures = {
        one.label: {figure.about.name: as_number(figure.value) for figure in one.figures} for one in compared.measured
    }
    tell({"result": {"page": str(page), "folder": str(arguments.output), "figures": figures}})
    for line in [] if arguments.json else [*lines_of(compared.measured, compared.rows), str(page)]:
        say(line)
    missed = [why for one in compared.measured for bound in bounds if (why := bound.missed(one)) is not None]
    for why in missed:
        print(f"masactrl-video: {printable(why)}", file=sys.stderr)
    return 1 if missed else 0


def _tell_progress(tell: Callable[[dict[str, Any]], None], event: Event) -> None:
    from masactrl_video.progress import TaskAdvanced

    if isinstance(event, TaskAdvanced):
        tell({"stage": event.task.name, "frame": event.done - 1, "frames": event.task.total})
