"""Text set into a box: wrapped, made smaller where it must be, and never outside."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from masactrl_video.errors import UserError
from masactrl_video.page.breaks import cut_to, letters_of, paragraphs_of, pieces_of, shown
from masactrl_video.page.lettering import BUILT_IN, FONT, Lettering, font_name, has_raqm, is_blank, is_right_to_left
from masactrl_video.page.story import PageStyle

_LINE_HEIGHT = 1.12
_MOST_NAMED = 6
_MOST_LETTERS_AN_EM = 8
_LEFT_TO_RIGHT_MARK, _RIGHT_TO_LEFT_MARK = "\u200e", "\u200f"
_SHAPED = re.compile("[\u0590-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u17ff\ufb1d-\ufdff\ufe70-\ufefc]")
"""Letters of scripts that run to the left, or that change their shape and place with their neighbours."""


@dataclass(frozen=True)
class SetText:
    """Lines at a size, and the box that they fill."""

    lines: tuple[str, ...]
    size_px: int
    width_px: int
    line_px: int
    """From one baseline to the next."""

    @property
    def height_px(self) -> int:
        """Of all lines."""
        return self.line_px * len(self.lines)


@dataclass(frozen=True)
class Wrapped:
    """A text in lines."""

    lines: tuple[str, ...]
    cuts: int
    """Breaks inside a word."""


Pieces = Sequence[Sequence[str]]
"""Of each paragraph the parts between which a line may break."""


def lettering_of(style: PageStyle, size_px: int) -> Lettering:
    """The page's fonts at a size."""
    fonts = style.font or [BUILT_IN]
    return Lettering(tuple(FONT if font == BUILT_IN else font for font in fonts), size_px)


def set_text(text: str, style: PageStyle, width_px: int, height_px: int, where: str) -> SetText:
    """Wrap a text into a box at the largest size, from `text_size` down to `min_text_size`, at which it fits.

    Line breaks of the text are kept. Lines are made as even as their number allows. Where a word is wider than the box
    at every size, it is cut between letters, as seldom as may be.

    Raises:
        UserError: it does not fit even at the smallest size, the fonts lack a character, or a font cannot be read.
    """
    pieces = text_pieces(text)
    _check_characters(text, pieces, style, where)
    sizes = [lettering_of(style, size) for size in range(style.text_size, style.min_text_size - 1, -1)]
    lines = {lettering: height_px // _least_line_px(lettering) for lettering in sizes}
    for lettering in sizes:
        whole = wrap(pieces, lettering, width_px, most_lines=lines[lettering], most_cuts=0)
        if whole and (set_ := _set(pieces, lettering, whole, width_px, height_px)):
            return set_
    cut = [(size, found) for size in sizes if (found := wrap(pieces, size, width_px, most_lines=lines[size]))]
    for lettering, found in sorted(cut, key=lambda pair: pair[1].cuts):  # of equals the largest first
        if set_ := _set(pieces, lettering, found, width_px, height_px):
            return set_
    raise UserError(
        f"{where}: {_short(text)!r} does not fit into {max(width_px, 0)}x{max(height_px, 0)} px, even at min_text_size "
        f"{style.min_text_size}; shorten it, split it, or give the panel more room"
    )


def text_pieces(text: str) -> Pieces:
    """The paragraphs of a text, each in the parts between which a line may break."""
    return [list(pieces_of(paragraph)) for paragraph in paragraphs_of(text)]


def wrap(
    pieces: Pieces, lettering: Lettering, width_px: int, *, most_lines: float = math.inf, most_cuts: float = math.inf
) -> Wrapped | None:
    """Lines no wider than `width_px`; None where that takes more lines, or cuts through words, than allowed."""
    lines: list[str] = []
    cuts = 0
    for paragraph in pieces:
        leftwards = is_right_to_left("".join(paragraph))
        line = ""
        for piece in paragraph:
            if _width_px(lettering, line + piece) <= width_px:
                line += piece
                continue
            if line:
                lines.append(_directed(line, leftwards))
            *cut, line = _cut(piece, lettering, width_px, min(most_lines - len(lines), most_cuts - cuts))
            cuts += len(cut)
            lines += (_directed(part, leftwards) for part in cut)
            if not line:
                return None
        lines.append(_directed(line, leftwards))
        if len(lines) > most_lines:
            return None
    return Wrapped(tuple(lines), cuts)


def _width_px(lettering: Lettering, line: str) -> int:
    return lettering.extent_px(shown(line))[0]


def _cut(word: str, lettering: Lettering, width_px: int, most_cuts: float) -> list[str]:
    """A word in parts that fit; the last is empty where that takes more cuts, or one letter alone is wider."""
    if _width_px(lettering, word) <= width_px:
        return [word]
    parts: list[str] = []
    letters: Sequence[str] = letters_of(word)
    while True:
        # no letter is so narrow that more than this many fit: long rests are not measured whole
        counts = range(1, min(len(letters), _MOST_LETTERS_AN_EM * width_px // lettering.size_px + 1) + 1)
        most = bisect_right(counts, width_px, key=partial(_first_width_px, lettering, letters))
        if most == len(letters):
            return [*parts, "".join(letters)]
        if not most or len(parts) >= most_cuts:
            return [""]
        count = cut_to(letters, most)
        parts.append("".join(letters[:count]))
        letters = letters[count:]


def _first_width_px(lettering: Lettering, letters: Sequence[str], count: int) -> int:
    return _width_px(lettering, "".join(letters[:count]))


def _directed(line: str, leftwards: bool | None) -> str:
    """A line as it is seen; one that would begin in another direction than its paragraph has a mark before it."""
    line = shown(line)
    if leftwards is None or is_right_to_left(line) in (None, leftwards):
        return line
    return (_RIGHT_TO_LEFT_MARK if leftwards else _LEFT_TO_RIGHT_MARK) + line


def _set(pieces: Pieces, lettering: Lettering, wrapped: Wrapped, width_px: int, height_px: int) -> SetText | None:
    """The lines made even; None where marks make them too high for the box."""
    lines = _evened(pieces, lettering, width_px, wrapped).lines
    extents = [lettering.extent_px(line) for line in lines]
    # more than usual where the marks below a line would meet those above the next
    ink = [below + above for (_, _, below), (_, above, _) in pairwise(extents)]
    widest, line_px = max(width for width, _, _ in extents), max(_least_line_px(lettering), *ink, 0)
    return SetText(lines, lettering.size_px, widest, line_px) if line_px * len(lines) <= height_px else None


def _least_line_px(lettering: Lettering) -> int:
    return round(lettering.size_px * _LINE_HEIGHT)


def _evened(pieces: Pieces, lettering: Lettering, width_px: int, first: Wrapped) -> Wrapped:
    """The narrowest wrapping with as many lines and cuts."""
    low, high, best = 1, width_px, first
    while low < high:
        middle = (low + high) // 2
        wrapped = wrap(pieces, lettering, middle, most_lines=len(first.lines), most_cuts=first.cuts)
        if wrapped is not None:
            high, best = middle, wrapped
        else:
            low = middle + 1
    return best


def _check_characters(text: str, pieces: Pieces, style: PageStyle, where: str) -> None:
    lettering = lettering_of(style, style.text_size)
    lettering.read()  # all of them, also one that no letter needs
    visible = "".join(shown(f"{piece}\u00ad" if "\u00ad" in piece else piece) for line in pieces for piece in line)
    if is_blank(visible):
        raise UserError(f"{where}: {_short(text)!r} has nothing that can be seen; write something, or leave it out")
    if missing := lettering.missing(visible):
        raise UserError(f"{where}: {missing_words(lettering, missing)}; {_way_out(lettering)}")
    if not has_raqm() and (char := _SHAPED.search(visible)):
        raise UserError(
            f"{where}: {char[0]!r} is of a script that Pillow sets only with raqm, which is not here; install FriBiDi "
            "(libfribidi0), and Pillow from its own wheels"
        )


def missing_words(lettering: Lettering, missing: Sequence[str]) -> str:
    """Which fonts lack what: the subject and the verb of a message."""
    names = [font_name(font) for font in lettering.fonts]
    who = f"the font {names[0]} has no" if len(names) == 1 else f"none of the fonts {', '.join(names)} has"
    named = [f"{letter!r} ({' '.join(f'U+{ord(char):04X}' for char in letter)})" for letter in missing[:_MOST_NAMED]]
    more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
    return f"{who} {', '.join(named)}{more}"


def _way_out(lettering: Lettering) -> str:
    names = ", ".join(font_name(font) for font in lettering.fonts)
    return f"replace it, or give fonts as page.font: [{names}, another.ttf]; the first that has a letter writes it"


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 40 else flat[:37] + "…"
