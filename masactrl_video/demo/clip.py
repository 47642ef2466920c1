"""Writes a clip of the cartoon world: one character in one place, moving smoothly.

``python -m masactrl_video.demo.clip CLIP.mp4 --action dancing``
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from masactrl_video.demo.world.frame import Frame, draw_frame
from masactrl_video.demo.world.identity import Identity
from masactrl_video.demo.world.poses import pose_of
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


def clip_frames(identity: Identity, action: str, frames: int, size_px: int) -> Iterator[Frame]:
    """One cycle of an action in equal steps, so that the clip's end leads back to its beginning."""
    for index in range(frames):
        pose = pose_of(action, index / frames, x=0.5, ground=0.94, height=0.78)
        yield draw_frame(identity, pose, action, size_px, size_px)


def write_clip(path: Path, pictures: Iterator[np.ndarray], size_px: int, fps: float) -> None:
    """Writes square RGB uint8 pictures as H.264, through a sibling file so that nothing half-written stays."""
    size = (size_px, size_px)
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
    parser.add_argument("--fps", type=float, default=12)
    parser.add_argument("--size", type=int, default=256, help="side in pixels")
    args = parser.parse_args()
    identity = Identity(**{**vars(HERO), "species": args.species})
    frames = clip_frames(identity, args.action, args.frames, args.size)
    write_clip(args.path, (frame.image for frame in frames), args.size, args.fps)


if __name__ == "__main__":
    main()
