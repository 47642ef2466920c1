"""PNG files with the parameters that made them in their text chunks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from masactrl_video.video.picture_file import open_picture
from masactrl_video.video.replace import replacing


def write_png(path: Path, picture: NDArray[np.uint8], text: Mapping[str, str] | None = None) -> None:
    """Write an RGB picture (height, width, 3); an existing file is replaced in one step.

    `text` becomes text chunks: any keyword of 1 to 79 Latin characters, any Unicode text.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"{picture.shape = }, {picture.dtype = }; expected uint8 (height, width, 3)")
    chunks = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        chunks.add_itxt(key, value)
    with replacing(path) as partial:
        Image.fromarray(picture).save(partial, format="PNG", pnginfo=chunks, compress_level=4)


def read_png(path: Path) -> NDArray[np.uint8]:
    """The picture as RGB (height, width, 3).

    Raises:
        UserError: there is no such file, or it is no PNG.
    """
    with open_picture(path, ["PNG"]) as image:
        return np.array(image.convert("RGB"))


def read_png_text(path: Path) -> dict[str, str]:
    """What `write_png` was given as text.

    Raises:
        UserError: there is no such file, or it is no PNG.
    """
    with open_picture(path, ["PNG"]) as image:
        return {str(key): str(value) for key, value in image.info.items() if isinstance(value, str)}


def check_png(path: Path) -> None:
    """Compare every chunk of a picture with its checksum (PNG specification, 5.3).

    Raises:
        UserError: there is no such file, it is no PNG, or it is not as it was written.
    """
    with open_picture(path, ["PNG"]) as image:
        image.verify()
