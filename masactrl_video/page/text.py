"""Text set into a box: wrapped, made smaller where it must be, and never outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

from masactrl_video.errors import UserError
from masactrl_video.settings.story import PageStyle

FONT = Path(__file__).parent / "fonts" / "ComicNeue-Bold.otf"
"""Comic Neue Bold, under the SIL Open Font License (fonts/OFL.txt)."""

_LINE_HEIGHT = 1.12
_LARGEST_FONT_BYTES = 64 * 2**20


@dataclass(frozen=True)
class SetText:
    """Lines at a size, and the box that they fill."""

    lines: tuple[str, ...]
    size_px: int
    width_px: int
    height_px: int

    @property
    def line_px(self) -> int:
        """From one baseline to the next."""
        return round(self.size_px * _LINE_HEIGHT)


def font_of(style: PageStyle, size_px: int) -> ImageFont.FreeTypeFont:
    """The page's font at a size.

    Raises:
        UserError: the file is not there or is no font.
    """
    return _font(style.font or FONT, size_px)


@lru_cache(maxsize=128)
def _font(path: Path, size_px: int) -> ImageFont.FreeTypeFont:
    try:
        if path.stat().st_size > _LARGEST_FONT_BYTES:
            raise UserError(f"page.font: {path} is larger than {_LARGEST_FONT_BYTES} bytes")
        return ImageFont.truetype(str(path), size_px)
    except OSError as error:
        raise UserError(f"page.font: {path} cannot be read as a TrueType or OpenType font ({error})") from error


def set_text(text: str, style: PageStyle, width_px: int, height_px: int, where: str) -> SetText:
    """Wrap a text into a box at the largest size, from `text_size` down to `min_text_size`, at which it fits.

    Line breaks of the text are kept. Lines are made as even as their number allows.

    Raises:
        UserError: it does not fit even at the smallest size, or the font lacks a character.
    """
    _check_characters(text, style, where)
    for size_px in range(style.text_size, style.min_text_size - 1, -1):
        lines = _wrapped(text, font_of(style, size_px), width_px)
        if lines is None or round(size_px * _LINE_HEIGHT) * len(lines) > height_px:
            continue
        even = _evened(text, font_of(style, size_px), width_px, len(lines))
        widest = max(_width(font_of(style, size_px), line) for line in even)
        return SetText(tuple(even), size_px, widest, round(size_px * _LINE_HEIGHT) * len(even))
    raise UserError(
        f"{where}: {_short(text)!r} does not fit into {max(width_px, 0)}x{max(height_px, 0)} px, even at min_text_size "
        f"{style.min_text_size}; shorten it, split it, or give the panel more room"
    )


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width_px: int) -> list[str] | None:
    """Lines no wider than `width_px`; None where a word alone is wider."""
    lines: list[str] = []
    for paragraph in text.strip().splitlines():
        line = ""
        for word in paragraph.split():
            if _width(font, word) > width_px:
                return None
            longer = f"{line} {word}" if line else word
            if _width(font, longer) > width_px:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def _evened(text: str, font: ImageFont.FreeTypeFont, width_px: int, count: int) -> Sequence[str]:
    """The narrowest wrapping with as many lines."""
    low, high = 1, width_px
    while low < high:
        middle = (low + high) // 2
        lines = _wrapped(text, font, middle)
        if lines is not None and len(lines) <= count:
            high = middle
        else:
            low = middle + 1
    return _wrapped(text, font, high) or []


def _width(font: ImageFont.FreeTypeFont, text: str) -> int:
    left, _, right, _ = font.getbbox(text, anchor="ls")
    return int(max(right, font.getlength(text)) - min(left, 0)) + 1


def _check_characters(text: str, style: PageStyle, where: str) -> None:
    font = font_of(style, style.text_size)
    absent = bytes(font.getmask("\uffff"))
    for char in sorted(set(text) - set(" \n\t")):
        if not char.isprintable() or (bytes(font.getmask(char)) == absent and not char.isspace()):
            raise UserError(f"{where}: the font has no character {char!r}; replace it, or give page.font another font")


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 40 else flat[:37] + "…"
