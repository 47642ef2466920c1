"""One palette for all cells: chosen in a space of even differences, used to the last colour, and kept in a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.sprites.cells import Cell
from masactrl_video.video.image_folder import read_image

Colours = NDArray[np.uint8]
"""RGB (colours, 3), no two alike."""

_MOST_SAMPLES = 20_000
_MOST_IN_FILE = 256
_MOST_PAIRS = 4_000_000
_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16 - 15 / 32


def choose_palette(cells: Sequence[Cell], count: int) -> Colours:
    """The colours that stand best for those of all cells: k-means in CIE Lab, each mean then the colour nearest to it.

    Colours that are there are all in use, so there are exactly so many.

    Returns:
        So many colours; fewer where the cells have not so many.
    """
    pixels = _visible(cells)
    seen = np.unique(pixels, axis=0)
    if len(seen) <= count:
        return seen
    samples = _lab(pixels[:: max(1, len(pixels) // _MOST_SAMPLES)])
    cv2.setRNGSeed(0)
    ends = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 0.1)
    means = cv2.kmeans(samples, min(count, len(samples)), None, ends, 1, cv2.KMEANS_PP_CENTERS)[2]
    lab = _lab(seen)
    chosen = np.unique(_nearest_lab(means, lab)[0])
    distances = _nearest_lab(lab, lab[chosen])[1]
    while len(chosen) < count:  # two means had the same colour next to them
        farthest = int(distances.argmax())
        chosen = np.append(chosen, farthest)
        distances = np.minimum(distances, ((lab - lab[farthest]) ** 2).sum(axis=1))
    return np.asarray(seen[np.sort(chosen)], np.uint8)


def with_palette(cell: Cell, palette: Colours, *, dither: bool) -> Cell:
    """The cell in the palette's colours; alpha stays."""
    there = cell[..., 3] > 0
    colours = _lab(cell[..., :3][there])
    if dither and len(palette) > 1:
        pattern = np.tile(_BAYER, (len(cell) // 4 + 1, len(cell) // 4 + 1))[: len(cell), : len(cell)][there]
        colours[:, 0] += pattern * _spread(palette)
    made = np.zeros_like(cell)
    made[there] = np.column_stack([palette[_nearest_lab(colours, _lab(palette))[0]], cell[..., 3][there]])
    return made


def _spread(palette: Colours) -> float:
    """Median distance in lightness from a colour of the palette to the next."""
    return float(np.median(np.diff(np.sort(_lab(palette)[:, 0]))) * 2)


def palette_of(cells: Sequence[Cell]) -> Colours:
    """The colours that are there, from dark to light."""
    found = np.unique(_visible(cells), axis=0)
    return np.asarray(found[np.argsort(_lab(found)[:, 0], kind="stable")], np.uint8)


def colours_in(cells: Sequence[Cell]) -> int:
    """How many colours there are among the pixels that are seen."""
    return len(np.unique(_visible(cells), axis=0))


def _visible(cells: Sequence[Cell]) -> Colours:
    return np.concatenate([cell[..., :3][cell[..., 3] > 0] for cell in cells])


def _nearest_lab(
    colours: NDArray[np.float32], palette: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Number of the nearest colour of a palette for each, and how far it is."""
    numbers, distances = np.zeros(len(colours), np.intp), np.zeros(len(colours), np.float32)
    own = (palette**2).sum(axis=1)
    at_once = max(1, _MOST_PAIRS // len(palette))
    for start in range(0, len(colours), at_once):
        part = slice(start, start + at_once)
        apart = own - 2 * colours[part] @ palette.T + (colours[part] ** 2).sum(axis=1, keepdims=True)
        numbers[part] = apart.argmin(axis=1)
        distances[part] = apart.min(axis=1)
    return numbers, distances


def _lab(colours: Colours) -> NDArray[np.float32]:
    values = (colours.astype(np.float32) / 255)[None]
    return np.asarray(cv2.cvtColor(values, cv2.COLOR_RGB2LAB)[0], np.float32)


def read_palette(path: Path) -> Colours:
    """Colours of a .hex file (RRGGBB a line), a GIMP palette (.gpl), or a .png.

    Raises:
        UserError: there is no such file, it is none of these, or it holds no or too many colours.
    """
    suffix = path.suffix.lower()
    if suffix not in (".hex", ".gpl", ".png"):
        raise UserError(f"palette: {path}: give a number of colours, or a .hex, .gpl or .png file")
    if not path.is_file():
        raise UserError(f"palette: there is no file {path}")
    if suffix == ".png":
        found = read_image(path).reshape(-1, 3)
    else:
        text = path.read_text(encoding="utf-8", errors="replace")
        found = np.array((_of_hex if suffix == ".hex" else _of_gpl)(path, text), np.uint8).reshape(-1, 3)
    _, first = np.unique(found, axis=0, return_index=True)
    colours = found[np.sort(first)]
    if not 2 <= len(colours) <= _MOST_IN_FILE:
        raise UserError(f"palette: {path} holds {len(colours)} colours; 2 to {_MOST_IN_FILE} are allowed")
    return np.asarray(colours, np.uint8)


def _of_hex(path: Path, text: str) -> list[list[int]]:
    lines = [line.strip().lstrip("#") for line in text.splitlines() if line.strip()]
    for number, line in enumerate(lines, 1):
        if not re.fullmatch(r"[0-9a-fA-F]{6}", line):
            raise UserError(f"palette: {path}, line {number}: got {line[:20]!r}; write a colour as RRGGBB")
    return [[int(line[at : at + 2], 16) for at in (0, 2, 4)] for line in lines]


def _of_gpl(path: Path, text: str) -> list[list[int]]:
    lines = text.splitlines()
    if not lines or lines[0].strip() != "GIMP Palette":
        raise UserError(f"palette: {path} does not begin with `GIMP Palette`; give a palette of GIMP, or a .hex file")
    colours = []
    for number, line in enumerate(lines[1:], 2):
        if found := re.match(r"\s*(\d+)\s+(\d+)\s+(\d+)", line):
            colours.append([int(value) for value in found.groups()])
            if max(colours[-1]) > 255:
                raise UserError(f"palette: {path}, line {number}: got {max(colours[-1])}; a colour goes from 0 to 255")
    return colours


def hex_text(palette: Colours) -> str:
    """The palette as a .hex file."""
    return "".join("{:02x}{:02x}{:02x}\n".format(*colour) for colour in palette.tolist())
