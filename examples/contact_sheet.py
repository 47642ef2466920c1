"""A few frames of a video in one picture: python contact_sheet.py VIDEO OUT.png [FRAMES]."""

import sys
from pathlib import Path

import numpy as np

from masactrl_video.video.clip import open_clip
from masactrl_video.video.png import write_png


def main(video: str, output: str, count: str = "3") -> None:
    """Frames evenly spread over the clip, one below the other."""
    clip = open_clip(Path(video))
    wanted = {round(position) for position in np.linspace(0, len(clip) - 1, int(count))}
    rows = [frame.pixels for number, frame in enumerate(clip) if number in wanted]
    write_png(Path(output), np.concatenate(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
