"""What lines are written with: each letter by the first font that has it, in the order in which a reader sees them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import ImageDraw, ImageFont, features

from masactrl_video.errors import UserError
from masactrl_video.page.breaks import letters_of

FONT = Path(__file__).parent / "fonts" / "ComicNeue-Bold.otf"
"""Comic Neue Bold, under the SIL Open Font License (fonts/OFL.txt)."""

BUILT_IN = Path("built-in")
"""How a list of fonts names that one."""

_LARGEST_FONT_BYTES = 64 * 2**20
_LOOK_PX = 40
"""Size at which glyphs are compared."""

_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
"""Characters that act on others and are never seen themselves (Default_Ignorable_Code_Point)."""


@dataclass(frozen=True)
class Run:
    """Letters of one font, in reading order."""

    text: str
    font: int
    """Index of the font."""
    direction: str | None = None
    """ltr or rtl; None leaves it to the text."""


@dataclass(frozen=True)
class Lettering:
    """Fonts at a size."""

    fonts: tuple[Path | None, ...]
    """The first that has a letter writes it. None is the font that ships with Pillow."""
    size_px: int

    @property
    def metrics_px(self) -> tuple[int, int]:
        """Ascent and descent of the first font."""
        return _font(self.fonts[0], self.size_px).getmetrics()

    def missing(self, text: str) -> list[str]:
        """Letters that no font has, each once; where it is one character of a letter alone, that one."""
        absent = [letter for letter in letters_of(text) if _written(self.fonts, letter) is None]
        single = ((char for char in letter if _written(self.fonts, char) is None) for letter in absent)
        return list(dict.fromkeys(next(chars, letter) for chars, letter in zip(single, absent, strict=True)))

    def extent_px(self, line: str) -> tuple[int, int, int]:
        """Width of a line, and how far its ink reaches above and below the baseline."""
        return _extent_px(self, line)

    def write(
        self, draw: ImageDraw.ImageDraw, at: tuple[float, float], line: str, fill: tuple[int, int, int], anchor: str
    ) -> None:
        """Write a line on the baseline at `at`, which is its beginning (anchor "l") or its middle ("m")."""
        runs, (x, y) = _runs(self.fonts, line), at
        if anchor == "m" and len(runs) > 1:
            x, anchor = x - sum(self._length_px(run) for run in runs) / 2, "l"
        for run in runs:
            font = _font(self.fonts[run.font], self.size_px)
            draw.text((x, y), run.text, font=font, fill=fill, anchor=f"{anchor}s", direction=run.direction)
            x += self._length_px(run)

    def read(self) -> None:
        """Read all fonts.

        Raises:
            UserError: a file is not there or is no font.
        """
        for font in self.fonts:
            _font(font, self.size_px)

    def _length_px(self, run: Run) -> float:
        return _font(self.fonts[run.font], self.size_px).getlength(run.text, direction=run.direction)


def has_raqm() -> bool:
    """Whether Pillow can order and shape letters (libraqm with FriBiDi and HarfBuzz)."""
    return bool(features.check("raqm"))


def is_right_to_left(text: str) -> bool | None:
    """By the first letter that has a direction; None where none has."""
    sides = (unicodedata.bidirectional(char) for char in text)
    return next((side != "L" for side in sides if side in ("L", "R", "AL")), None)


def font_name(font: Path | None) -> str:
    """How messages name a font."""
    return BUILT_IN.name if font is None or font == FONT else font.name


@lru_cache(maxsize=128)
def _font(path: Path | None, size_px: int, basic: bool = False) -> ImageFont.FreeTypeFont:
    engine = ImageFont.Layout.BASIC if basic or not has_raqm() else ImageFont.Layout.RAQM
    if path is None:
        own = ImageFont.load_default(size=size_px)
        assert isinstance(own, ImageFont.FreeTypeFont)
        return own.font_variant(layout_engine=engine)
    try:
        if path.stat().st_size > _LARGEST_FONT_BYTES:
            raise UserError(f"page.font: {path} is larger than {_LARGEST_FONT_BYTES} bytes")
        return ImageFont.truetype(str(path), size_px, layout_engine=engine)
    except OSError as error:
        raise UserError(f"page.font: {path} cannot be read as a TrueType or OpenType font ({error})") from error


@lru_cache(maxsize=4096)
def _has_glyph(font: Path | None, char: str) -> bool:
    return _glyph(font, char) != _glyph(font, "\uffff")  # which is no character, so that no font has it


@lru_cache(maxsize=4096)
def _glyph(font: Path | None, char: str) -> tuple[bytes, tuple[int, int], float]:
    basic = _font(font, _LOOK_PX, basic=True)  # one glyph for one character, nothing shaped or left out
    mask = basic.getmask(char)
    return bytes(mask), mask.size, basic.getlength(char)


@lru_cache(maxsize=4096)
def _written(fonts: tuple[Path | None, ...], letter: str) -> tuple[int, str] | None:
    """The first font that has all of a letter, and the letter as that one has it."""
    if any(unicodedata.category(char) == "Cs" for char in letter):
        return None
    for index, font in enumerate(fonts):
        for form in ("NFC", "NFD"):
            chars = unicodedata.normalize(form, letter)
            if all(is_blank(char) or _has_glyph(font, char) for char in chars):
                return index, "".join(_blank(font, char) if char.isspace() else char for char in chars)
    return None


def is_blank(text: str) -> bool:
    """Whether nothing of it is seen."""
    return all(char.isspace() or _IGNORABLE.match(char) for char in text)


def _blank(font: Path | None, space: str) -> str:
    """A space, by an ordinary one where the font lacks it."""
    if space == " " or _has_glyph(font, space):
        return space
    return "  " if space == "\u3000" else " "


@lru_cache(maxsize=4096)
def _runs(fonts: tuple[Path | None, ...], line: str) -> Sequence[Run]:
    """A line in runs from left to right."""
    letters = []
    font = None
    for letter in letters_of(line):
        index, text = _written(fonts, letter) or (0, letter)  # a box, where somebody asks for it nevertheless
        if not has_raqm():  # which alone knows that they are not seen
            text = _IGNORABLE.sub("", text)
        font = index if font is None or not is_blank(letter) else font
        letters.append((text, font))
    if len({font for _, font in letters}) <= 1:
        return [Run("".join(text for text, _ in letters), font or 0)]
    return _ordered(letters)


def _ordered(letters: Sequence[tuple[str, int]]) -> Sequence[Run]:
    """Letters of several fonts as runs in the order in which they stand on paper.

    A font at a time is written, so the order between fonts is found here: the bidirectional algorithm (UAX #9) without
    its marks for embedding.
    """
    levels = _levels([text for text, _ in letters])
    runs: list[tuple[str, int, int]] = []
    for (text, font), level in zip(letters, levels, strict=True):
        if runs and runs[-1][1:] == (font, level):
            runs[-1] = (runs[-1][0] + text, font, level)
        else:
            runs.append((text, font, level))
    for least in range(max(levels), 0, -1):
        first = 0
        while first < len(runs):
            last = first
            while last < len(runs) and runs[last][2] >= least:
                last += 1
            runs[first:last] = reversed(runs[first:last])
            first = last + 1
    bidi = any(levels) and has_raqm()
    return [Run(text, font, ("rtl" if level % 2 else "ltr") if bidi else None) for text, font, level in runs]


def _levels(letters: Sequence[str]) -> list[int]:
    """The depth of each letter: even ones are written to the right, odd ones to the left."""
    base = int(is_right_to_left("".join(letters)) or False)
    kinds = []
    strong = "R" if base else "L"
    for side in _whole_numbers([_side(letter) for letter in letters]):
        if side in ("L", "R", "AL"):
            strong = "L" if side == "L" else "R"
        number = "L" if strong == "L" else "N"
        kinds.append({"L": "L", "R": "R", "AL": "R", "EN": number, "AN": "N"}.get(side, ""))
    around = ["L" if kind == "L" else "R" if kind else "" for kind in kinds]
    base_kind = "R" if base else "L"
    for index, kind in enumerate(kinds):
        if not kind:
            before = next((side for side in reversed(around[:index]) if side), base_kind)
            after = next((side for side in around[index:] if side), base_kind)
            kinds[index] = before if before == after else base_kind
    depths = {"L": 2 if base else 0, "R": 1, "N": 2}
    return [depths[kind] for kind in kinds]


def _side(letter: str) -> str:
    """Its bidirectional class."""
    return next((unicodedata.bidirectional(char) for char in letter if not _IGNORABLE.match(char)), "BN")


def _whole_numbers(sides: Sequence[str]) -> Sequence[str]:
    """Classes in which the signs in numbers, and those before and after them, are numbers too: 12:30, 3.5, 50 %.

    Rules W2, W4 and W5 of the algorithm.
    """
    whole = list(sides)
    strong = ""
    for index, side in enumerate(whole):
        strong = side if side in ("L", "R", "AL") else strong
        whole[index] = "AN" if side == "EN" and strong == "AL" else side
    for index in range(1, len(whole) - 1):
        before, side, after = whole[index - 1 : index + 2]
        if before == after and (side, before) in (("CS", "EN"), ("CS", "AN"), ("ES", "EN")):
            whole[index] = before
    for order in (range(len(whole)), reversed(range(len(whole)))):
        before = ""
        for index in order:
            whole[index] = before = "EN" if whole[index] == "ET" and before == "EN" else whole[index]
    return whole


@lru_cache(maxsize=16384)
def _extent_px(lettering: Lettering, line: str) -> tuple[int, int, int]:
    x, first, last, above, below = 0.0, 0.0, 0.0, 0.0, 0.0
    for run in _runs(lettering.fonts, line):
        font = _font(lettering.fonts[run.font], lettering.size_px)
        left, top, right, bottom = font.getbbox(run.text, anchor="ls", direction=run.direction)
        first, last = min(first, x + left), max(last, x + right)
        x += font.getlength(run.text, direction=run.direction)
        above, below = max(above, -top), max(below, bottom)
    return int(max(last, x) - first) + 1, int(above), int(below)
