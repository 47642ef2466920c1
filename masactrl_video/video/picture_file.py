"""Opening a picture file that may be anything: no other decoder than asked for, and no more pixels than is sane."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from masactrl_video.errors import UserError

LARGEST_PICTURE_PX = 100_000_000
"""Width times height of a picture or a frame, three times that of 8K; a file of a few kilobytes can claim gigabytes."""

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")  # Pillow knows formats, such as EPS, that start programs


@contextmanager
def open_picture(file: Path, formats: Sequence[str] = _FORMATS, data: BinaryIO | None = None) -> Iterator[Image.Image]:
    """The picture, its header read and its size accepted; whatever goes wrong inside the context names the file.

    Args:
        formats: Pillow's names of those that are read.
        data: the file's content, where it has been read already.

    Raises:
        UserError: no such file, no picture of these formats, too large, or damaged.
    """
    if not file.exists():
        raise UserError(f"no such picture: {file}")
    if not file.is_file():
        raise UserError(f"{file} is not an ordinary file, so no picture is read from it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is below
            with Image.open(data or file, formats=tuple(formats)) as image:
                check_size(file, *image.size)
                yield image
    except Image.DecompressionBombError:
        raise UserError(f"{file} is too large a picture; {_LIMIT}") from None
    except UnidentifiedImageError:
        what = "an image" if formats is _FORMATS else f"a {' or '.join(formats)} picture"
        allowed = f"; allowed are {', '.join(_FORMATS)}" if formats is _FORMATS else ""
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
