"""A video as a small moving picture for a page: python moving_picture.py OUT.webp VIDEO

It is twice as wide and high as the video, and plays again and again.
"""

import sys
from pathlib import Path

from PIL import Image

from masactrl_video.video.clip import open_clip

TIMES_LARGER, QUALITY = 2, 75


def main(output: str, video: str) -> None:
    """An animated WebP whose frames last as long as the video's."""
    pictures, durations_ms = [], []
    for frame in open_clip(Path(video)):
        picture = Image.fromarray(frame.pixels)
        size = (picture.width * TIMES_LARGER, picture.height * TIMES_LARGER)
        pictures.append(picture.resize(size, Image.Resampling.LANCZOS))
        durations_ms.append(round(frame.duration_seconds * 1000))
    first, *others = pictures
    first.save(output, save_all=True, append_images=others, duration=durations_ms, loop=0, quality=QUALITY, method=6)


if __name__ == "__main__":
    main(*sys.argv[1:])
