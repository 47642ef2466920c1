"""Pages as files: PNG, PDF and CBZ, each whole or not at all."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from masactrl_video.storage.replace import replacing


def write_page(path: Path, page: NDArray[np.uint8], dpi: int) -> None:
    """A page RGB (height, width, 3) as a PNG that says its resolution."""
    with replacing(path) as partial:
        Image.fromarray(page).save(partial, format="PNG", dpi=(dpi, dpi))


def write_pdf(path: Path, pages: Sequence[Path], dpi: int, title: str) -> None:
    """Page pictures as the pages of a PDF, one at a time in memory."""
    with replacing(path) as partial:
        for number, page in enumerate(pages):
            with Image.open(page, formats=["PNG"]) as picture:
                options = {"title": title, "creator": "masactrl-video"} if number == 0 else {}
                picture.convert("RGB").save(
                    partial, format="PDF", resolution=dpi, quality=95, append=number > 0, **options
                )


def write_cbz(path: Path, pages: Sequence[Path]) -> None:
    """Page pictures as a comic book archive: a ZIP whose names sort in reading order."""
    # ZipInfo has a fixed date: the same pages give the same bytes
    with replacing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for number, page in enumerate(pages, 1):
            archive.writestr(zipfile.ZipInfo(f"{number:03d}.png"), page.read_bytes())
