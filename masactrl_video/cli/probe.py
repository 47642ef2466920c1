"""`masactrl-video probe`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from masactrl_video.cli.say import add_json, say, say_json

if TYPE_CHECKING:
    from masactrl_video.video.streams import Colours


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("clip", type=Path, help="video or folder of images")
    parser.add_argument("--video-stream", type=int, metavar="N", help="of several, from 0 (default: as players choose)")
    parser.add_argument(
        "--no-decode", action="store_true", help="read what the file says of itself only; damage of frames is not found"
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from masactrl_video.errors import counted
    from masactrl_video.video.facts import facts_of

    facts = facts_of(arguments.clip, arguments.video_stream, decode=not arguments.no_decode)
    if arguments.json:
        say_json({"result": facts.as_data()})
        return 0
    info = facts.info
    say(f"{info.path}: {info.kind}, {info.width_px}x{info.height_px} px, rotated by {info.rotation_degrees} degrees")
    rate = f"{info.average_frame_rate:.3f} a second"
    say(f"{counted(info.num_frames, 'frame')}, {rate}, {info.duration_seconds:.3f} seconds")
    if facts.codec:
        say(f"{facts.codec}, {_in_words(facts.colours)}")
    say("with sound" if info.has_audio else "without sound")
    if facts.damage:
        say(f"damage: {facts.damage}")
    for remark in info.remarks:
        say(f"note: {remark}")
    return 0


def _in_words(colours: Colours) -> str:
    said = [f"{name} {getattr(colours, name) or 'not said'}" for name in ("range", "matrix", "primaries", "transfer")]
    return f"{colours.pixel_format}; colours: {', '.join(said)}"
