"""Where the lines of a text may break: by the Unicode line breaking rules (UAX #14), and by words where no space parts
them.

Thai is parted at words (BudouX). Lao, Khmer and Burmese have no dictionary here and are parted between syllables as far
as the letters tell where those are. Korean is parted at spaces alone, as its writers do.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

_LINE_ENDS = re.compile("\r\n|[\n\r\v\f\x85\u2028\u2029]")
_CONTROLS = re.compile("[\0-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
_SPACES = re.compile("[ \t]+")
_BREAKING_SPACES = " \u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2008\u2009\u200a\u205f\u3000"
_ZERO_WIDTH_SPACE, _SOFT_HYPHEN = "\u200b", "\u00ad"
_ACT_ON_BREAKS_ALONE = re.compile("[\u00ad\u200b\u2060\ufeff]")

_THAI = "\u0e01-\u0e3a\u0e40-\u0e4e"
_SYLLABIC = "\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\ua9e0-\ua9ff\uaa60-\uaadf"
_WITHOUT_SPACES = re.compile(f"([{_THAI}]+)|([{_SYLLABIC}]+)")
_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff]")

_STACKS_THE_NEXT = "\u1039\u17d2\u1a60"
_BEFORE_ITS_CONSONANT = "\u0e40\u0e41\u0e42\u0e43\u0e44\u0ec0\u0ec1\u0ec2\u0ec3\u0ec4"
_IN_A_CLOSED_SYLLABLE = "\u0e31\u0e47\u0eb1\u0ebb"
_NEVER_FIRST = (
    "\u0e2f\u0e30\u0e32\u0e33\u0e45\u0e46\u0eaf\u0eb0\u0eb2\u0eb3\u0ec6\u104a\u104b\u17d3\u17d4\u17d5\u17d7\u17d9"
)
_OPENING, _CLOSING = ("Ps", "Pi"), ("Pe", "Pf", "Po", "Zs")
"""Categories of characters that no last resort puts at a line's end, and at its start."""
_BURMESE_ASAT = "\u103a"


def paragraphs_of(text: str) -> list[str]:
    """A text at its line ends, whichever those are; tabs and runs of spaces are one space, control characters nothing.

    Empty lines inside stay; those before and after the text do not.
    """
    lines = [_SPACES.sub(" ", _CONTROLS.sub("", line)) for line in _LINE_ENDS.split(text)]
    lines = [line.strip(_BREAKING_SPACES + _ZERO_WIDTH_SPACE).rstrip(_SOFT_HYPHEN) for line in lines]
    written = [number for number, line in enumerate(lines) if line]
    return lines[written[0] : written[-1] + 1] if written else []


def shown(line: str) -> str:
    """What is seen of a line: no spaces at its ends, and of soft hyphens only the one where it breaks."""
    line = line.strip(_BREAKING_SPACES + _ZERO_WIDTH_SPACE)
    hyphen = "-" if line.endswith(_SOFT_HYPHEN) else ""
    return _ACT_ON_BREAKS_ALONE.sub("", line) + hyphen


def pieces_of(paragraph: str) -> Iterator[str]:
    """The parts between which a line may break; together they are the paragraph."""
    from uniseg.linebreak import line_break_units

    joined = ""
    for unit in line_break_units(paragraph):
        if joined and not (_HANGUL.match(joined[-1]) and _HANGUL.match(unit)):
            yield joined
            joined = ""
        *whole, last = _words(joined + unit)
        yield from whole
        joined = last
    if joined:
        yield joined


@lru_cache(maxsize=4096)
def letters_of(text: str) -> Sequence[str]:
    """What a reader takes for one letter each: a line never breaks inside, not even as a last resort.

    Letters with their marks, stacked consonants, emoji that are joined to one.
    """
    from uniseg.graphemecluster import grapheme_clusters

    letters: list[str] = []
    for cluster in grapheme_clusters(text):
        if letters and (letters[-1][-1] in _STACKS_THE_NEXT or unicodedata.category(cluster[0]).startswith("M")):
            letters[-1] += cluster
        else:
            letters.append(cluster)
    return letters


def cut_to(letters: Sequence[str], most: int) -> int:
    """After how many of `most` letters a word is cut that must be: not before a closing mark, nor after an opening."""
    for count in range(most, 0, -1):
        before, after = letters[count - 1][-1], letters[count][0]
        if unicodedata.category(before) not in _OPENING and unicodedata.category(after) not in _CLOSING:
            return count
    return most


def _words(unit: str) -> list[str]:
    """A unit of the line breaking rules, which take a sentence of these scripts for one word."""
    parts: list[str] = []
    done = 0
    for match in _WITHOUT_SPACES.finditer(unit):
        words = _thai_parser().parse(match[1]) if match[1] else letters_of(match[2])
        first, *others = _joined(words)
        parts[-1:] = ["".join([*parts[-1:], unit[done : match.start()], first])]
        parts += others
        done = match.end()
    if not parts:
        return [unit]
    parts[-1] += unit[done:]
    return parts


def _joined(words: Sequence[str]) -> list[str]:
    """Words, or letters, joined where a syllable would be parted."""
    joined = [words[0]]
    for before, word in pairwise(words):
        if _parts_a_syllable(letters_of(before)[-1], letters_of(word)[0]):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _parts_a_syllable(before: str, after: str) -> bool:
    return (
        before[0] in _BEFORE_ITS_CONSONANT
        or any(mark in before for mark in _IN_A_CLOSED_SYLLABLE)
        or after[0] in _NEVER_FIRST
        or _BURMESE_ASAT in after
        or unicodedata.category(after[0]).startswith("M")
    )


@lru_cache(maxsize=1)
def _thai_parser() -> Any:
    import budoux

    return budoux.load_default_thai_parser()
