"""`masactrl-video probe`."""

from __future__ import annotations

import argparse
from pathlib import Path

from masactrl_video.cli.say import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("clip", type=Path, help="video or folder of images")
    parser.add_argument("--video-stream", type=int, metavar="N", help="of several, from 0 (default: as players choose)")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from masactrl_video.video.clip import open_clip

    info = open_clip(arguments.clip, video_stream=arguments.video_stream).info
    say(f"{info.path}: {info.kind}, {info.width_px}x{info.height_px} px, rotated by {info.rotation_degrees} degrees")
    say(f"{info.num_frames} frames, {info.average_frame_rate:.3f} a second, {info.duration_seconds:.3f} seconds")
    say("with sound" if info.has_audio else "without sound")
    for remark in info.remarks:
        say(f"note: {remark}")
    return 0
