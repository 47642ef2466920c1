"""Writes a clip of the cartoon world: one character in one place, moving smoothly, or two who cross.

``python -m masactrl_video.demo.clip CLIP.mp4 --action dancing``

``--pan 0.6`` turns the camera there and back, ``--drift 0.5`` lets clouds drift, ``--frames 1000 --cycle 24`` makes it
long, and ``--crossing`` sends two alike characters past each other.
"""

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from masactrl_video.demo.world.frame import Frame, GroupFrame, draw_frame, draw_group
from masactrl_video.demo.world.identity import Identity
from masactrl_video.demo.world.poses import mirrored, pose_of
from masactrl_video.demo.world.scene import View
from masactrl_video.demo.world.vocabulary import ACTIONS, SPECIES
from masactrl_video.storage.replace import replacing

HERO = Identity(
    species="bear",
    shirt="red",
    trousers="blue",
    scene="meadow",
    pattern="stripes",
    hat="none",
    hat_colour="green",
    scarf="yellow",
    shades=(0.0, 0.0, 0.0),
    scenery=(0.85, 0.25, 0.6),
)
"""Who plays in the example clip."""


def clip_frames(
    identity: Identity,
    action: str,
    frames: int,
    size_px: int,
    *,
    cycle: int | None = None,
    pan: float | None = None,
    drift: float | None = None,
) -> Iterator[Frame]:
    """An action in equal steps, so that the clip's end leads back to its beginning.

    Args:
        cycle: frames of one cycle of the action; all of the clip if not given.
        pan: the camera turns so far to the right and back again, in picture heights, over the clip.
        drift: clouds, or what the scene has up there, drift so far to the right, in picture widths, over the clip.
    """
    moves = pan is not None or drift is not None
    for index in range(frames):
        part = index / frames
        view = View((pan or 0.0) * (1 - np.cos(2 * np.pi * part)) / 2, (drift or 0.0) * part) if moves else None
        pose = pose_of(action, index / (cycle or frames), x=0.5, ground=0.94, height=0.78)
        yield draw_frame(identity, pose, action, size_px, size_px, view)


def crossing_frames(pair: tuple[Identity, Identity], frames: int, size_px: int) -> Iterator[GroupFrame]:
    """Two characters who walk past each other, the second one in front; pictures are twice as wide as high."""
    for index in range(frames):
        part = index / max(1, frames - 1)
        there = pose_of("walking", 2 * part, x=0.45 + 1.1 * part, ground=0.92, height=0.74)
        back = mirrored(pose_of("walking", 2 * part + 0.25, x=1.55 - 1.1 * part, ground=0.95, height=0.74))
        yield draw_group(pair, (there, back), size_px, 2 * size_px)


def alike(identity: Identity) -> tuple[Identity, Identity]:
    """Two of the same species and scene, who are told apart by their clothes alone."""
    other = {"red": "blue", "blue": "red", "green": "yellow", "yellow": "green", "purple": "orange", "orange": "purple"}
    scarf = "yellow" if identity.scarf == "none" else "none"
    return identity, replace(identity, shirt=other[identity.shirt], trousers=other[identity.trousers], scarf=scarf)


def write_clip(
    path: Path, pictures: Iterable[np.ndarray], size_px: int, fps: float, width_px: int | None = None
) -> None:
    """Writes RGB uint8 pictures, square ones if no width is given, as H.264; nothing half-written stays."""
    size = (width_px or size_px, size_px)
    with replacing(path) as partial:
        writer = imageio_ffmpeg.write_frames(
            str(partial), size, fps=fps, codec="libx264", macro_block_size=1, output_params=["-crf", "18"]
        )
        writer.send(None)
        for picture in pictures:
            writer.send(np.ascontiguousarray(picture))
        writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--action", choices=ACTIONS, default="dancing")
    parser.add_argument("--species", choices=SPECIES, default=HERO.species)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--cycle", type=int, help="frames of one cycle of the action; all of them if not given")
    parser.add_argument("--pan", type=float, help="the camera turns so far and back, in picture heights")
    parser.add_argument("--drift", type=float, help="clouds drift so far, in picture widths")
    parser.add_argument("--crossing", action="store_true", help="two alike characters walk past each other")
    parser.add_argument("--fps", type=float, default=12)
    parser.add_argument("--size", type=int, default=256, help="side in pixels")
    args = parser.parse_args()
    identity = Identity(**{**vars(HERO), "species": args.species})
    if args.crossing:
        both = crossing_frames(alike(identity), args.frames, args.size)
        write_clip(args.path, (frame.image for frame in both), args.size, args.fps, 2 * args.size)
        return
    moves = {"cycle": args.cycle, "pan": args.pan, "drift": args.drift}
    frames = clip_frames(identity, args.action, args.frames, args.size, **moves)
    write_clip(args.path, (frame.image for frame in frames), args.size, args.fps)


if __name__ == "__main__":
    main()
