"""The pixels of an opened picture as a screen shows them: 8 bits a channel, sRGB."""

from __future__ import annotations

from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from masactrl_video.errors import UserError

_INTEROP_INDEX = 1
_SCREEN_GAMMA = 1 / 2.2
_LEAST_DIFFERENCE = 3
"""Of 255: profiles that move no colour further are sRGB itself, written by another hand."""

_DROPPED = "it has transparency, which is dropped: the colours below it are taken"
_WITHOUT_ALPHA = {"P": "RGB", "PA": "RGB", "RGBA": "RGB", "RGBX": "RGB", "YCbCr": "RGB", "LA": "L", "1": "L"}

EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
GREY_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Pillow's modes of grey pictures with more than 8 bits."""


class Colours(NamedTuple):
    """What a picture shows, and what must be said of it."""

    pixels: NDArray[np.uint8]
    """RGB (height, width, 3)."""
    remarks: tuple[str, ...]
    """What is not taken over as it is."""
    profile: str
    """Name of the colour profile that was applied; empty where none was."""


def colours_of(image: Image.Image, *, as_numbers: bool = False) -> Colours:
    """Decode an opened picture.

    Args:
        as_numbers: of masks and guidance, whose numbers are no colours: no profile is applied.

    Raises:
        UserError: pixels of a kind that has no agreed white; the message goes on after the picture's name.
    """
    remarks = [_DROPPED] if _is_transparent(image) else []
    image = _eight_bits(image)
    profile = ""
    if not as_numbers:
        image, profile, remark = _to_srgb(image)
        remarks += [remark] if remark else []
    return Colours(np.array(image.convert("RGB")), tuple(remarks), profile)


def _is_transparent(image: Image.Image) -> bool:
    """Whether any pixel is not opaque."""
    if image.mode in GREY_MODES or not image.has_transparency_data:
        return "transparency" in image.info
    return bool(np.array(image.convert("RGBA").getchannel("A")).min() < 255)


def _eight_bits(image: Image.Image) -> Image.Image:
    """The high byte of 16 bits, as Pillow takes it of colour pictures; floating point from 0 to 1."""
    if image.mode not in GREY_MODES:
        return image
    numbers = np.array(image)
    lowest, highest = numbers.min(), numbers.max()
    white = 1 if image.mode == "F" else 65535
    if not 0 <= lowest <= highest <= white:  # NaN is refused too
        raise UserError(
            f"has grey values from {lowest:g} to {highest:g}; read are 0 to {white}, black to white: convert it"
        )
    shades = np.rint(numbers * 255) if image.mode == "F" else numbers.astype(np.uint32) >> 8
    grey = Image.fromarray(shades.astype(np.uint8))
    grey.info = image.info
    return grey


def _to_srgb(image: Image.Image) -> tuple[Image.Image, str, str]:
    """The picture, the name of the profile that was applied, and a remark."""
    if "icc_profile" not in image.info:
        return image, "", _without_profile(image)
    image = image.convert(_WITHOUT_ALPHA.get(image.mode, image.mode))
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(image.info["icc_profile"]))
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), image.mode, "RGB")
        name = ImageCms.getProfileDescription(profile).strip()
        if _changes_nothing(transform, image.mode):
            return image, "", ""
        shown = ImageCms.applyTransform(image, transform)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):  # TypeError: Pillow gives None for a damaged chunk
        return image, "", "it has a colour profile that cannot be read or is of another kind of picture; sRGB is taken"
    assert shown is not None  # only where it changes the picture itself
    return shown, name or "without a name", ""


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a transform of such pictures is that of the screen's own profile."""
    if mode not in ("RGB", "L"):
        return False
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3)
    colours = Image.fromarray(grid if mode == "RGB" else np.arange(256, dtype=np.uint8)[None])
    shown = np.array(ImageCms.applyTransform(colours, transform)).astype(int)
    return int(np.abs(shown - np.array(colours.convert("RGB"))).max()) <= _LEAST_DIFFERENCE


def _without_profile(image: Image.Image) -> str:
    if image.mode == "CMYK":
        return "it has colours for print (CMYK) without a profile, which are turned into screen colours roughly"
    gamma = image.info.get("gamma")
    if gamma and "srgb" not in image.info and abs(gamma / _SCREEN_GAMMA - 1) > 0.05:
        return f"it has a gamma of its own ({gamma:g}), which is not applied: sRGB is taken"
    if _interop_index(image) == "R03":
        return "it is in Adobe RGB by its EXIF data, but without a profile: sRGB is taken, as players take it"
    return ""


def _interop_index(image: Image.Image) -> object:
    """By which EXIF data name the colour space; None where nothing does."""
    try:
        return image.getexif().get_ifd(ExifTags.IFD.Interop).get(_INTEROP_INDEX)
    except KeyError:  # Pillow 12 raises it for a picture without such data
        return None
