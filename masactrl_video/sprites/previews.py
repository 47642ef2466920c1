"""Movements to look at: animated GIF, WebP and PNG that play for ever."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from PIL import Image

from masactrl_video.sprites.cells import Cell

FORMATS = ("gif", "webp", "apng")


def preview(cells: Sequence[Cell], milliseconds: int, kind: str) -> bytes:
    """A loop of cells as the content of a file of one of FORMATS. GIF knows no half alpha: it is cut at a half."""
    pictures = [Image.fromarray(cell) for cell in cells]
    timing = {"duration": milliseconds, "loop": 0}
    content = BytesIO()
    if kind == "gif":
        frames = [_indexed(picture) for picture in pictures]
        frames[0].save(
            content,
            "GIF",
            save_all=True,
            append_images=frames[1:],
            disposal=2,
            transparency=255,
            optimize=False,
            **timing,
        )
    elif kind == "webp":
        pictures[0].save(
            content, "WEBP", save_all=True, append_images=pictures[1:], lossless=True, exact=True, **timing
        )
    else:
        pictures[0].save(content, "PNG", save_all=True, append_images=pictures[1:], disposal=1, blend=0, **timing)
    return content.getvalue()


def _indexed(picture: Image.Image) -> Image.Image:
    """255 colours, and the last number for what is not there."""
    made = picture.convert("RGB").quantize(255, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    made.paste(255, mask=picture.getchannel("A").point(lambda value: 255 if value < 128 else 0))
    return made
