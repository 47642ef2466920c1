"""Frames from a folder of images in natural order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from masactrl_video.errors import UserError
from masactrl_video.video.frame import ClipInfo, Timing
from masactrl_video.video.picture_file import open_picture

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

_EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_EXIF_ORIENTATION = 0x0112
_EXIF_SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height


class ImageFolder:
    """A folder of images as a source of frames."""

    def __init__(self, path: Path, frame_rate: float, *, allow_partial: bool = False) -> None:
        """List the images and compare their sizes; no picture is decoded.

        Args:
            allow_partial: take the images before the first that cannot be read. Finding that one decodes them.

        Raises:
            UserError: no images, unlike sizes, or a file that is no 8-bit image.
        """
        if not frame_rate > 0:
            raise UserError(f"the frame rate is {frame_rate}; it must be above 0")
        files = list_images(path)
        self._files = files[: _readable_images(files)] if allow_partial else files
        left_out = len(files) - len(self._files)
        width_px, height_px = _common_size(self._files)
        self.timings = tuple(Timing(n, n / frame_rate, 1 / frame_rate) for n in range(len(self._files)))
        self.info = ClipInfo(
            path=path,
            kind="images",
            width_px=width_px,
            height_px=height_px,
            rotation_degrees=0,
            num_frames=len(self._files),
            average_frame_rate=frame_rate,
            duration_seconds=len(self._files) / frame_rate,
            has_audio=False,
            remarks=(
                f"{files[-left_out].name} cannot be read: {left_out} of its {len(files)} images, from that on, "
                "are left out",
            )
            if left_out
            else (),
        )

    def read(self, positions: range) -> Iterator[NDArray[np.uint8]]:
        """The images at `positions`, RGB (height, width, 3); turned by their EXIF orientation, transparency dropped."""
        for position in positions:
            try:
                pixels = read_image(self._files[position])
            except UserError as error:
                remedy = f"; --allow-partial takes the {position} before it" if position else ""
                raise UserError(f"{error}{remedy}") from error
            if pixels.shape[1::-1] != (self.info.width_px, self.info.height_px):
                raise UserError(f"{self._files[position]} has changed, or is turned by a late EXIF chunk: save it anew")
            yield pixels


def _readable_images(files: list[Path]) -> int:
    """How many come before the first that cannot be read.

    Raises:
        UserError: the very first cannot.
    """
    for count, file in enumerate(files):
        try:
            read_image(file)
        except UserError:
            if count == 0:
                raise
            return count
    return len(files)


def list_images(folder: Path) -> list[Path]:
    """The images of a folder in natural order (2.png before 10.png); hidden and other files are left out.

    Raises:
        UserError: there are none.
    """
    files = [file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.name[0] != "."]
    if not files:
        raise UserError(f"the folder {folder} holds no images; allowed are {', '.join(IMAGE_SUFFIXES)}")
    return sorted(files, key=_natural_order)


def _natural_order(file: Path) -> tuple[list[str | int], str]:
    parts = re.split(r"(\d+)", file.name.lower())  # text, digits, text, …
    return [int(part) if n % 2 else part for n, part in enumerate(parts)], file.name


def _common_size(files: list[Path]) -> tuple[int, int]:
    first_size = _size(files[0])
    for file in files[1:]:
        if _size(file) != first_size:
            sizes = f"{_as_text(_size(file))}, but {files[0].name} is {_as_text(first_size)}"
            raise UserError(f"{file} is {sizes}; all images of a folder must have one size")
    return first_size


def _size(file: Path) -> tuple[int, int]:
    """(width, height) as shown, from the header alone."""
    with _open_image(file) as image:
        width_px, height_px = image.size
        if image.format == "PNG" and "exif" not in image.info:
            return image.size  # here getexif would decode the whole picture, in search of a later chunk
        sideways = image.getexif().get(_EXIF_ORIENTATION) in _EXIF_SIDEWAYS
        return (height_px, width_px) if sideways else (width_px, height_px)


def read_image(file: Path) -> NDArray[np.uint8]:
    """A picture file as RGB (height, width, 3); turned by its EXIF orientation, transparency dropped.

    Raises:
        UserError: no such file, no picture, or more than 8 bits a channel.
    """
    with _open_image(file) as image:
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def _as_text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


@contextmanager
def _open_image(file: Path) -> Iterator[Image.Image]:
    with open_picture(file) as image:
        if image.mode not in _EIGHT_BIT_MODES:
            raise UserError(f"{file} has pixels of the kind {image.mode}; only 8 bits a channel are read: convert it")
        yield image
