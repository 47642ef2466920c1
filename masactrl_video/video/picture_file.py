"""Opening a picture file that may be anything: no other decoder than asked for, and no more pixels than is sane."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError, features

from masactrl_video.errors import UserError

LARGEST_PICTURE_PX = 100_000_000
"""Width times height of a picture or a frame, three times that of 8K; a file of a few kilobytes can claim gigabytes."""

_SUFFIXES = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif"),
    "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif", ".avifs"),
}
"""Of the formats that are read; Pillow knows others, such as EPS, that start programs."""

_UNREAD_SUFFIXES = (
    *(".heic", ".heif", ".hif", ".avif", ".avifs", ".jxl", ".gif", ".apng", ".jp2", ".j2k", ".jpf", ".jpx", ".jxr"),
    *(".exr", ".dpx", ".cin", ".hdr", ".tga", ".psd", ".psb", ".xcf", ".kra", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    *(".pcx", ".sgi", ".rgb", ".iff", ".dds", ".qoi", ".svg", ".eps", ".dng", ".cr2", ".cr3", ".crw", ".nef", ".arw"),
    *(".raf", ".orf", ".rw2", ".pef", ".srw", ".raw", ".npy", ".fits"),
)
"""Of pictures that are not read, or not by every installation."""


def picture_formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read; AVIF where this Pillow was built with it."""
    return tuple(name for name in _SUFFIXES if name != "AVIF" or features.check("avif"))


def picture_suffixes() -> tuple[str, ...]:
    """Suffixes, in lower case, of the pictures that are read."""
    return tuple(suffix for name in picture_formats() for suffix in _SUFFIXES[name])


def is_unread_picture(file: Path) -> bool:
    """Whether a file's name says that it is a picture, but of a format that is not read."""
    return file.suffix.lower() in _UNREAD_SUFFIXES and file.suffix.lower() not in picture_suffixes()


@contextmanager
def open_picture(
    file: Path, formats: Sequence[str] | None = None, data: BinaryIO | None = None
) -> Iterator[Image.Image]:
    """The picture, its header read and its size accepted; whatever goes wrong inside the context names the file.

    Args:
        formats: Pillow's names of those that are read, `picture_formats` when None.
        data: the file's content, where it has been read already.

    Raises:
        UserError: no such file, no picture of these formats, too large, or damaged.
    """
    if not file.exists():
        raise UserError(f"no such picture: {file}")
    if not file.is_file():
        raise UserError(f"{file} is not an ordinary file, so no picture is read from it")
    if data is None and not file.stat().st_size:
        raise UserError(f"{file} is empty: it holds no picture; get it anew")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is below
            with Image.open(data or file, formats=tuple(formats or picture_formats())) as image:
                check_size(file, *image.size)
                yield image
    except Image.DecompressionBombError:
        raise UserError(f"{file} is too large a picture; {_LIMIT}") from None
    except UnidentifiedImageError:
        what = f"a {' or '.join(formats)} picture" if formats else "an image"
        allowed = "" if formats else f"; allowed are {', '.join(picture_formats())}"
        raise UserError(f"{file} is not {what} that can be read{allowed}") from None
    except (OSError, SyntaxError, ValueError, EOFError, OverflowError) as error:  # Pillow's own of damaged files
        raise UserError(f"{file} is damaged, or no image that can be read ({error})") from None


def check_size(path: Path, width_px: int, height_px: int) -> None:
    """See that a picture or frame of this size may be decoded.

    Raises:
        UserError: it has more pixels than `LARGEST_PICTURE_PX`.
    """
    if width_px * height_px > LARGEST_PICTURE_PX:
        raise UserError(f"{path} is {width_px}x{height_px}; {_LIMIT}")


_LIMIT = f"at most {LARGEST_PICTURE_PX // 1_000_000} million pixels are decoded: make it smaller first"
