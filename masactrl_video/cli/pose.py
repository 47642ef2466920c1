"""`masactrl-video pose extract|show|convert|smooth|retarget|tween`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, cast, get_args

from masactrl_video.cli.options import add_flag
from masactrl_video.cli.say import say
from masactrl_video.errors import UserError, counted
from masactrl_video.settings.fields import Command, settings_for
from masactrl_video.settings.names import Easing, FitMode
from masactrl_video.settings.presets import DEFAULT_PRESET, read_preset, resolve
from masactrl_video.settings.settings import Settings

_DEFAULT_WINDOW_FRAMES = 7
_OUT_HELP = "pose JSON: NAME.json for one list of frames, NAME without suffix for a folder with a file a frame"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sub-commands and their flags."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, text: str, out: str = _OUT_HELP) -> argparse.ArgumentParser:
        command = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        what = (
            "video or folder of images"
            if name == "extract"
            else ("pose JSON: a list of frames, or a folder; or a shipped pose by its name, e.g. waving")
        )
        command.add_argument("poses", nargs="+" if name == "tween" else 1, type=Path, metavar="POSES", help=what)
        command.add_argument("-o", "--output", type=Path, required=True, help=out)
        command.add_argument("--overwrite", action="store_true", help="replace an existing file")
        for short, flag, about in (
            ("-v", "--verbose", "say more about what is done"),
            ("-q", "--quiet", "only warnings and errors"),
        ):  # understood before and after the sub-command
            command.add_argument(short, flag, action="store_true", default=argparse.SUPPRESS, help=about)
        for setting in _settings_of(name):
            typed = "--reference" if setting == "retarget" else None
            add_flag(command, setting, Settings.model_fields[setting], {}, typed)
        return command

    action("extract", "detect the poses of the people in a clip")
    show = action("show", "draw skeletons", out="contact sheet (.png), video, or folder of pictures (no suffix)")
    show.add_argument("--frame-rate", type=_positive, default=24.0, metavar="X", help="of a video (default: 24)")
    show.add_argument("--frames", type=_count, default=16, metavar="N", help="on a contact sheet (default: 16)")
    convert = action("convert", "another format or canvas; 25-point bodies become 18-point ones")
    convert.add_argument("--canvas", type=_size, metavar="WIDTHxHEIGHT", help="fit the poses to a canvas of this size")
    convert.add_argument(
        "--fit", choices=get_args(FitMode), help="how (default: pad, all stays visible; see render --help)"
    )
    convert.add_argument("--normalised", action="store_true", help="write coordinates from 0 to 1 instead of pixels")
    action("smooth", "repair and smooth poses over time")
    retarget = action("retarget", "give poses the bone lengths of another body")
    retarget.add_argument(
        "--length",
        dest="lengths",
        action="append",
        default=[],
        metavar="BONE=PX",
        help="length of one bone in px, instead of the reference's, e.g. right-thigh=90 (repeatable)",
    )
    tween = action("tween", "a clip from a few key poses")
    timing = tween.add_mutually_exclusive_group()
    timing.add_argument("--every", type=_count, default=12, metavar="N", help="frames from key to key (default: 12)")
    timing.add_argument(
        "--at",
        type=int,
        nargs="+",
        metavar="N",
        help="the frame of each key, from 0; with --loop one more, where the first comes again",
    )
    tween.add_argument("--easing", choices=get_args(Easing), default="ease-in-out", help="(default: ease-in-out)")
    tween.add_argument("--loop", action="store_true", help="close the sequence: after the last frame comes the first")


def run(arguments: argparse.Namespace) -> int:
    """Run the sub-command."""
    settings = _settings(arguments)
    from masactrl_video.jobs.poses import POSE_OUTPUTS, SHOWN_OUTPUTS, pose_run

    _check_not_read(arguments)
    suffixes = SHOWN_OUTPUTS if arguments.action == "show" else POSE_OUTPUTS
    with pose_run(arguments.output, _asked(arguments), arguments.overwrite, suffixes):
        return _run(arguments, settings)


def _asked(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was asked for, as plain data."""
    typed = {name: value for name, value in vars(arguments).items() if value is not None and name != "run"}
    return dict(json.loads(json.dumps(typed, default=str)))


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    from masactrl_video.jobs.poses import load_poses, save_poses, show_poses

    if arguments.action == "show":
        poses = load_poses(settings, *arguments.poses)
        show_poses(
            arguments.output,
            poses,
            frame_rate=arguments.frame_rate,
            sheet_frames=arguments.frames,
            overwrite=arguments.overwrite,
        )
        say(f"{arguments.output}: {counted(len(poses), 'pose')}")
        return 0
    made = _made(arguments, settings)
    normalised = getattr(arguments, "normalised", False)
    save_poses(arguments.output, made, normalised=normalised, overwrite=arguments.overwrite)
    people = max(len(pose.people) for pose in made)
    shown = sum(pose.has_person for pose in made)
    most = counted(people, "person", "people")
    say(f"{arguments.output}: {counted(len(made), 'pose')}, somebody in {shown}, up to {most} at a time")
    return 0


def _made(arguments: argparse.Namespace, settings: Settings) -> list[Any]:
    from masactrl_video.jobs.poses import detect_poses, load_poses, on_canvas, treat_poses
    from masactrl_video.poses.tween import tween

    if arguments.action == "extract":
        return treat_poses(settings, detect_poses(settings))
    poses = load_poses(settings, *arguments.poses)
    if arguments.action == "convert":
        if arguments.canvas is None:
            if arguments.fit:
                raise UserError("--fit: it would have no effect without --canvas; leave it out")
            return poses
        width_px, height_px = arguments.canvas
        return on_canvas(poses, width_px, height_px, arguments.fit or "pad")
    if arguments.action == "tween":
        at = arguments.at or [arguments.every * index for index in range(len(poses) + arguments.loop)]
        return tween(poses, at, easing=arguments.easing, loop=arguments.loop)
    if arguments.action == "smooth":
        return treat_poses(settings, poses)
    lengths = _lengths(arguments.lengths)
    if settings.retarget is None and not lengths:
        raise UserError("pose retarget: give --reference, or lengths with --length")
    return treat_poses(settings, poses, lengths)


def _settings(arguments: argparse.Namespace) -> Settings:
    """The settings that the flags name, checked as those of a render."""
    typed, names = vars(arguments), _settings_of(arguments.action)  # other flags may have a setting's name
    given = {name: typed[name] for name in names if typed[name] is not None}
    if arguments.action == "smooth":
        given.setdefault("smooth_poses", _DEFAULT_WINDOW_FRAMES)
    base = {**read_preset(DEFAULT_PRESET), "guidance": ["pose"]}
    return resolve(base, {**given, "clip": arguments.poses[0]})


def _settings_of(action: str) -> list[str]:
    return settings_for(Settings, cast(Command, f"pose {action}"))


def _check_not_read(arguments: argparse.Namespace) -> None:
    """See that no input is overwritten."""
    inputs = [*arguments.poses, *([Path(arguments.retarget)] if getattr(arguments, "retarget", None) else [])]
    for path in inputs:
        if path.resolve() == arguments.output.resolve():
            raise UserError(f"{path} is read, and would be overwritten; give another output")


def _lengths(texts: list[str]) -> dict[str, float]:
    lengths: dict[str, float] = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            lengths[name] = float(number)
        except ValueError:
            raise UserError(f"--length: got {text!r}; write it as BONE=PX, e.g. right-thigh=90") from None
    return lengths


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}; a whole number from 1 is wanted")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1000:
        raise argparse.ArgumentTypeError(f"got {text!r}; a number above 0, up to 1000, is wanted")
    return number


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and 1 <= int(width) <= 65535 and 1 <= int(height) <= 65535):
        raise argparse.ArgumentTypeError(f"got {text!r}; write it as WIDTHxHEIGHT in px, e.g. 512x768")
    return int(width), int(height)
