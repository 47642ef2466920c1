"""Single pictures on disk, with the parameters that made them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin


def write_png(path: Path, picture: NDArray[np.uint8], text: Mapping[str, str] | None = None) -> None:
    """Write RGB uint8 (height, width, 3) so that `path` is whole or absent; `text` goes into PNG text chunks."""
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_itxt(key, value)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        Image.fromarray(picture).save(partial, format="PNG", pnginfo=info)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
