"""A labelled sheet: pictures in rows and columns, each under its label, with names of the rows and a title."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_GAP_PX, _PAPER, _INK = 8, (255, 255, 255), (0, 0, 0)
_MAX_LINES = 6

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Panel:
    """One place on a sheet."""

    label: str = ""
    """Above the picture, broken into lines of its width."""
    picture: NDArray[np.uint8] | None = None
    """RGB (height, width, 3); None leaves the place empty."""


def labelled_sheet(
    rows: Sequence[Sequence[Panel]], row_labels: Sequence[str] = (), title: str = ""
) -> NDArray[np.uint8]:
    """Lay out panels on white paper, RGB uint8 (height, width, 3). Pictures keep their size, pixel for pixel.

    The font is the one that ships with Pillow: it has Latin letters; others show as boxes.

    Args:
        rows: panels of each row; a short row leaves the rest of it empty.
        row_labels: a name for each row, to its left, or none.
        title: above everything.
    """
    pictures = [panel.picture for row in rows for panel in row if panel.picture is not None]
    if not pictures:
        raise ValueError("a sheet needs at least one picture")
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    columns = max(len(row) for row in rows)
    font = ImageFont.load_default(size=max(11, min(width // 16, 28)))
    left = _GAP_PX + (_column_width(row_labels, font, width) + _GAP_PX if any(row_labels) else 0)
    sheet_width = left + columns * (width + _GAP_PX)
    title_lines = wrapped(title, font, sheet_width - 2 * _GAP_PX)
    labels = [[wrapped(panel.label, font, width) for panel in row] for row in rows]
    heads = [max((len(lines) for lines in row), default=0) * _line_px(font) for row in labels]
    tops = [_GAP_PX + len(title_lines) * _line_px(font) + (_GAP_PX if title_lines else 0)]
    for head in heads:
        tops.append(tops[-1] + head + height + _GAP_PX)
    sheet = Image.new("RGB", (sheet_width, tops[-1]), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, title_lines, (_GAP_PX, _GAP_PX), font)
    for number, row in enumerate(rows):
        picture_top = tops[number] + heads[number]
        if any(row_labels):
            lines = wrapped(row_labels[number], font, left - 2 * _GAP_PX)
            _write(draw, lines, (_GAP_PX, picture_top + (height - len(lines) * _line_px(font)) // 2), font)
        for column, panel in enumerate(row):
            x = left + column * (width + _GAP_PX)
            lines = labels[number][column]
            _write(draw, lines, (x, picture_top - len(lines) * _line_px(font)), font)
            if panel.picture is not None:
                sheet.paste(Image.fromarray(panel.picture), (x, picture_top))
    return np.array(sheet)


def wrapped(text: str, font: Font, width_px: int) -> list[str]:
    """Lines of at most `width_px`, at most six of them; words that are too long are broken."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width_px:
            lines[-1] += f" {word}"
            continue
        while font.getlength(word) > width_px and len(word) > 1:
            fits = max((n for n in range(1, len(word)) if font.getlength(word[:n]) <= width_px), default=1)
            lines.append(word[:fits])
            word = word[fits:]
        lines.append(word)
    return lines if len(lines) <= _MAX_LINES else [*lines[: _MAX_LINES - 1], f"{lines[_MAX_LINES - 1]} …"]


def _column_width(labels: Sequence[str], font: Font, picture_width_px: int) -> int:
    """Wide enough for the longest label on one line, but no wider than a picture."""
    return min(max(int(font.getlength(label)) + 1 for label in labels), picture_width_px)


def _line_px(font: Font) -> int:
    _, top, _, bottom = font.getbbox("Ag|")
    return round((bottom - min(top, 0)) * 1.2)


def _write(draw: ImageDraw.ImageDraw, lines: Sequence[str], at: tuple[int, int], font: Font) -> None:
    for number, line in enumerate(lines):
        draw.text((at[0], at[1] + number * _line_px(font)), line, _INK, font)
