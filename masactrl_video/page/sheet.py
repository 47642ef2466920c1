"""A labelled sheet: pictures in rows and columns, each under its label, with names of the rows and a title."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from masactrl_video.page.lettering import Lettering
from masactrl_video.page.text import missing_words, text_pieces, wrap

logger = logging.getLogger(__name__)

_GAP_PX, _PAPER, _INK = 8, (255, 255, 255), (0, 0, 0)
_MAX_LINES = 6


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

    The font is the one that ships with Pillow: it has Latin letters; others show as boxes, and are said.

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
    lettering = Lettering((None,), max(11, min(width // 16, 28)))
    if missing := lettering.missing(" ".join([title, *row_labels, *(panel.label for row in rows for panel in row)])):
        logger.warning("the sheet's labels: %s, and shows boxes", missing_words(lettering, missing))
    line_px = _line_px(lettering)
    left = _GAP_PX + (_column_width(row_labels, lettering, width) + _GAP_PX if any(row_labels) else 0)
    sheet_width = left + columns * (width + _GAP_PX)
    title_lines = wrapped(title, lettering, sheet_width - 2 * _GAP_PX)
    labels = [[wrapped(panel.label, lettering, width) for panel in row] for row in rows]
    heads = [max((len(lines) for lines in row), default=0) * line_px for row in labels]
    tops = [_GAP_PX + len(title_lines) * line_px + (_GAP_PX if title_lines else 0)]
    for head in heads:
        tops.append(tops[-1] + head + height + _GAP_PX)
    sheet = Image.new("RGB", (sheet_width, tops[-1]), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, title_lines, (_GAP_PX, _GAP_PX), lettering)
    for number, row in enumerate(rows):
        picture_top = tops[number] + heads[number]
        if any(row_labels):
            lines = wrapped(row_labels[number], lettering, left - 2 * _GAP_PX)
            _write(draw, lines, (_GAP_PX, picture_top + (height - len(lines) * line_px) // 2), lettering)
        for column, panel in enumerate(row):
            x = left + column * (width + _GAP_PX)
            lines = labels[number][column]
            _write(draw, lines, (x, picture_top - len(lines) * line_px), lettering)
            if panel.picture is not None:
                sheet.paste(Image.fromarray(panel.picture), (x, picture_top))
    return np.array(sheet)


def wrapped(text: str, lettering: Lettering, width_px: int) -> Sequence[str]:
    """Lines of at most `width_px` (but one letter wide at least), at most six of them; too long words are broken."""
    pieces = text_pieces(text)
    lines = next(found for wide in count(width_px) if (found := wrap(pieces, lettering, wide))).lines
    return lines if len(lines) <= _MAX_LINES else [*lines[: _MAX_LINES - 1], f"{lines[_MAX_LINES - 1]} …"]


def _column_width(labels: Sequence[str], lettering: Lettering, picture_width_px: int) -> int:
    """Wide enough for the longest label on one line, but no wider than a picture."""
    return min(max(lettering.extent_px(label)[0] for label in labels), picture_width_px)


def _line_px(lettering: Lettering) -> int:
    ascent, _ = lettering.metrics_px
    _, _, below = lettering.extent_px("Ag|")
    return round((ascent + below) * 1.2)


def _write(draw: ImageDraw.ImageDraw, lines: Sequence[str], at: tuple[int, int], lettering: Lettering) -> None:
    ascent, _ = lettering.metrics_px
    for number, line in enumerate(lines):
        lettering.write(draw, (at[0], at[1] + number * _line_px(lettering) + ascent), line, _INK, "l")
