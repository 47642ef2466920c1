"""Frames from a folder of images in natural order."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from masactrl_video.errors import UserError
from masactrl_video.video.frame import ClipInfo, Timing
from masactrl_video.video.frame_files import FrameFiles, frame_files, some_names, visible
from masactrl_video.video.picture_colours import EIGHT_BIT_MODES, GREY_MODES, Colours, colours_of
from masactrl_video.video.picture_file import is_unread_picture, open_picture, picture_formats, picture_suffixes

logger = logging.getLogger(__name__)

_EXIF_ORIENTATION = 0x0112
_EXIF_SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height


class ImageFolder:
    """A folder of images as a source of frames."""

    def __init__(self, path: Path, frame_rate: float, *, as_numbers: bool = False, allow_partial: bool = False) -> None:
        """List the images and compare their sizes; only the first is decoded, for the remarks.

        Args:
            as_numbers: see `read_picture`.
            allow_partial: take the images before the first that cannot be read. Finding that one decodes them.

        Raises:
            UserError: no images, some that are not read, an unclear order, unlike sizes, or a file that is no image.
        """
        if not frame_rate > 0:
            raise UserError(f"the frame rate is {frame_rate}; it must be above 0")
        found = image_files(path)
        self._files = found.files[: _readable_images(found.files)] if allow_partial else found.files
        self._as_numbers = as_numbers
        width_px, height_px = _common_size(self._files)
        self._said = set(self._remarks_on_first())
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
            remarks=(*_left_out(found.files, len(self._files)), *found.remarks, *sorted(self._said)),
        )

    def read(self, positions: range) -> Iterator[NDArray[np.uint8]]:
        """The images at `positions`, RGB (height, width, 3), as `read_picture` has them."""
        for position in positions:
            file = self._files[position]
            try:
                picture = read_picture(file, as_numbers=self._as_numbers)
            except UserError as error:
                remedy = f"; --allow-partial takes the {position} before it" if position else ""
                raise UserError(f"{error}{remedy}") from error
            if picture.pixels.shape[1::-1] != (self.info.width_px, self.info.height_px):
                raise UserError(f"{file} has changed, or is turned by a late EXIF chunk: save it anew")
            for remark in self._not_said(picture.remarks):
                logger.warning("%s, and maybe others after it: %s", file, remark)
            for profile in self._not_said([picture.profile] if picture.profile else []):
                logger.info("%s: colours are converted from the profile %r to sRGB", file, profile)
            yield picture.pixels

    def _remarks_on_first(self) -> tuple[str, ...]:
        try:
            return read_picture(self._files[0], as_numbers=self._as_numbers).remarks
        except UserError:
            return ()  # said when it is read

    def _not_said(self, texts: Iterable[str]) -> list[str]:
        new = [text for text in texts if text not in self._said]
        self._said.update(new)
        return new


def image_files(folder: Path) -> FrameFiles:
    """The images of a folder in natural order (2.png before 10.png).

    Raises:
        UserError: there are none, there are some of formats that are not read, or the order is unclear.
    """
    if unread := sorted(file.name for file in visible(folder) if is_unread_picture(file)):
        raise UserError(
            f"{folder} holds pictures that are not read ({some_names(unread)}): convert them, or move them away; "
            f"read are {', '.join(picture_formats())}"
        )
    found = frame_files(folder, picture_suffixes())
    if not found.files:
        raise UserError(f"the folder {folder} holds no images; allowed are {', '.join(picture_formats())}")
    return found


def _left_out(files: list[Path], taken: int) -> tuple[str, ...]:
    if taken == len(files):
        return ()
    left = len(files) - taken
    return (f"{files[taken].name} cannot be read: {left} of its {len(files)} images, from that on, are left out",)


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
    """The files of `image_files`. Raises UserError as it does."""
    return image_files(folder).files


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
    """The pixels of `read_picture`, RGB (height, width, 3). Raises UserError as it does."""
    return read_picture(file).pixels


def read_picture(file: Path, *, as_numbers: bool = False) -> Colours:
    """A picture file as a screen shows it: turned by its EXIF orientation, its colour profile applied.

    Args:
        as_numbers: of masks and guidance, whose numbers are no colours: no profile is applied.

    Raises:
        UserError: no such file, no picture, or pixels of a kind that is not read.
    """
    with _open_image(file) as image:
        pages = getattr(image, "n_frames", 1)
        try:
            picture = colours_of(ImageOps.exif_transpose(image), as_numbers=as_numbers)
        except UserError as error:
            raise UserError(f"{file} {error}") from None
    if pages > 1 and image.format != "MPO":  # whose other pages are previews and depth
        several = f"it has {pages} pages or frames, of which the first is taken"
        return picture._replace(remarks=(several, *picture.remarks))
    return picture


def _as_text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


@contextmanager
def _open_image(file: Path) -> Iterator[Image.Image]:
    with open_picture(file) as image:
        if image.mode not in (*EIGHT_BIT_MODES, *GREY_MODES):
            raise UserError(f"{file} has pixels of the kind {image.mode}, which is not read: convert it to RGB")
        yield image
