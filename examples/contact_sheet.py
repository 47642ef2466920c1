"""Videos and pictures in one small picture: python contact_sheet.py OUT.jpg FRAMES FILE...

Each file is a row: a video gives FRAMES frames, evenly spread; a picture itself, at most 800 px wide and 700 px high.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from masactrl_video.video.clip import open_clip
from masactrl_video.video.picture_file import picture_suffixes

HEIGHT_PX, MOST_PX, GREY = 128, (800, 700), (190, 192, 200)


def on_grey(picture: Image.Image) -> Image.Image:
    """A picture as RGB, what is transparent in it in grey."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    ground = Image.new("RGBA", picture.size, GREY)
    ground.alpha_composite(picture.convert("RGBA"))
    return ground.convert("RGB")


def row(path: Path, count: int) -> Image.Image:
    """A picture, or frames of a video side by side."""
    if path.suffix.lower() in picture_suffixes():
        picture = on_grey(Image.open(path))
        picture.thumbnail(MOST_PX, Image.Resampling.LANCZOS)
        return picture
    clip = open_clip(path)
    wanted = {round(position) for position in np.linspace(0, len(clip) - 1, count)}
    frames = [Image.fromarray(frame.pixels) for number, frame in enumerate(clip) if number in wanted]
    width = round(frames[0].width * HEIGHT_PX / frames[0].height)
    strip = Image.new("RGB", (len(frames) * width, HEIGHT_PX))
    for number, frame in enumerate(frames):
        strip.paste(frame.resize((width, HEIGHT_PX), Image.Resampling.LANCZOS), (number * width, 0))
    return strip


def main(output: str, count: str, *files: str) -> None:
    """Rows, one below the other."""
    rows = [row(Path(file), int(count)) for file in files]
    sheet = Image.new("RGB", (max(one.width for one in rows), sum(one.height for one in rows)), "white")
    top = 0
    for one in rows:
        sheet.paste(one, (0, top))
        top += one.height
    sheet.save(output, quality=85)


if __name__ == "__main__":
    main(*sys.argv[1:])
