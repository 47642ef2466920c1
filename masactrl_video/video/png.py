"""PNG files with the parameters that made them in their text chunks."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from masactrl_video.storage.fingerprint import hash_bytes
from masactrl_video.storage.replace import replacing
from masactrl_video.storage.text import encodable
from masactrl_video.video.picture_file import open_picture


def write_png(path: Path, picture: NDArray[np.uint8], text: Mapping[str, str] | None = None) -> str:
    """Write `png_bytes` of a picture, and return their SHA-256; an existing file is replaced in one step."""
    content = png_bytes(picture, text)
    with replacing(path) as partial:
        partial.write_bytes(content)
    return hash_bytes(content)


def png_bytes(picture: NDArray[np.uint8], text: Mapping[str, str] | None = None) -> bytes:
    """An RGB or RGBA picture (height, width, 3 or 4) as the content of a PNG file.

    `text` becomes text chunks: any keyword of 1 to 79 Latin characters, any text (see `encodable`).
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (3, 4):
        raise ValueError(f"{picture.shape = }, {picture.dtype = }; expected uint8 (height, width, 3 or 4)")
    chunks = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        chunks.add_itxt(key, encodable(value))
    content = BytesIO()
    Image.fromarray(picture).save(content, format="PNG", pnginfo=chunks, compress_level=4)
    return content.getvalue()


def read_png(path: Path) -> NDArray[np.uint8]:
    """The picture as RGB (height, width, 3).

    Raises:
        UserError: there is no such file, or it is no PNG.
    """
    with open_picture(path, ["PNG"]) as image:
        return np.array(image.convert("RGB"))


def read_rgba_png(path: Path) -> NDArray[np.uint8]:
    """The picture as RGBA (height, width, 4).

    Raises:
        UserError: there is no such file, or it is no PNG.
    """
    with open_picture(path, ["PNG"]) as image:
        return np.array(image.convert("RGBA"))


def read_png_text(path: Path) -> dict[str, str]:
    """What `write_png` was given as text.

    Raises:
        UserError: there is no such file, or it is no PNG.
    """
    with open_picture(path, ["PNG"]) as image:
        return {str(key): str(value) for key, value in image.info.items() if isinstance(value, str)}


def whole_png(path: Path) -> bytes:
    """The content of a picture's file, every chunk of which was compared with its checksum (PNG specification, 5.3).

    Raises:
        UserError: there is no such file, it is no PNG, or it is not as it was written.
    """
    content = path.read_bytes() if path.is_file() else b""
    with open_picture(path, ["PNG"], BytesIO(content)) as image:
        image.verify()
    return content
