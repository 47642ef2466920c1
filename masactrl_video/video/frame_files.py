"""The files of a folder that holds one for each frame: which are taken, in what order, and what is said of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from masactrl_video.errors import UserError

_OF_SYSTEMS = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "__macosx", "$recycle.bin")
"""What Windows, macOS and network drives leave in folders; all else of theirs begins with a dot."""

_TEXTS = (".txt", ".json", ".yaml", ".yml", ".toml", ".ini", ".md", ".csv", ".xml", ".log", ".nfo")
"""Notes, captions and settings beside frames: nobody takes them for frames."""

_MOST_NAMED = 3

Name = tuple[str | int, ...]
"""A file's name without its suffix: text, number, text, …"""


@dataclass(frozen=True)
class FrameFiles:
    """A file for each frame."""

    files: list[Path]
    """In order: numbers by their value, those below 0 first, texts by the alphabet."""
    remarks: tuple[str, ...]
    """What is left out of the folder, numbers that are missing, and names of several kinds."""


def frame_files(folder: Path, suffixes: Collection[str]) -> FrameFiles:
    """The files of a folder whose names end in one of `suffixes` (lower case, with the dot; any case in the folder).

    Hidden files and those that systems leave behind are passed over. There may be none.

    Raises:
        UserError: two files have the same name but for zeros, capitals or the suffix.
    """
    there = visible(folder)
    taken = [file for file in there if file.suffix.lower() in suffixes]
    left = [file for file in there if file.suffix.lower() not in (*suffixes, *_TEXTS)]
    names = _names([file.stem for file in taken])
    order = sorted(range(len(taken)), key=names.__getitem__)
    for before, after in pairwise(order):
        if names[before] == names[after]:
            pair = f"{taken[before].name} and {taken[after].name}"
            raise UserError(f"{folder}: {pair} are the same frame by their names; keep one of them")
    remarks = [_left_out(left), *_said_of([names[n] for n in order], [taken[n].name for n in order])]
    return FrameFiles([taken[n] for n in order], tuple(filter(None, remarks)))


def visible(folder: Path) -> list[Path]:
    """What lies in a folder, without hidden files and those that systems leave behind, such as ._a.png or Thumbs.db."""
    return [file for file in folder.iterdir() if file.name[0] != "." and file.name.lower() not in _OF_SYSTEMS]


def some_names(names: Sequence[str]) -> str:
    """The first few of names, and how many more there are."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def natural_order(names: Sequence[str]) -> list[int]:
    """Positions of names in order: numbers by their value, texts by the alphabet."""
    split = _names(names)
    return sorted(range(len(names)), key=split.__getitem__)


def number_names(names: Sequence[str]) -> list[int] | None:
    """The numbers of names that differ in one number only; None for other names."""
    return _numbers(_names(names))


def _names(stems: Sequence[str]) -> list[Name]:
    parts = [re.split(r"(\d+)", unicodedata.normalize("NFC", stem).casefold()) for stem in stems]
    unsigned = {_before(part, n) for part in parts for n in range(1, len(part), 2) if not part[n - 1].endswith("-")}
    return [_signed(part, unsigned) for part in parts]


def _signed(parts: list[str], unsigned: Collection[Name]) -> Name:
    """Text and numbers by turns, where a dash that is a minus has gone from the text into the number.

    It is a minus at the start of a name, after another separator, or where other names have none in its place:
    frame-0001 beside frame0000, but not frame-0001 beside frame-0002.
    """
    name: list[str | int] = list(parts)
    for n in range(1, len(parts), 2):
        name[n], before = int(parts[n]), parts[n - 1]
        if before.endswith("-") and (
            (n == 1 and before == "-") or before[-2:-1] in ("_", ".", "-") or _before(parts, n, before[:-1]) in unsigned
        ):
            name[n - 1], name[n] = before[:-1], -int(parts[n])
    return tuple(name)


def _before(parts: Sequence[str], n: int, last: str | None = None) -> Name:
    """The texts up to the number at `n`."""
    return (*parts[: n - 1 : 2], parts[n - 1] if last is None else last)


def _left_out(files: list[Path]) -> str:
    if not files:
        return ""
    names = sorted(f"{file.name}/" if file.is_dir() else file.name for file in files)
    return f"left out, because they are no frames that are read: {some_names(names)}"


def _said_of(names: list[Name], files: list[str]) -> list[str]:
    """Remarks on names in order."""
    kinds = {name[::2]: file for name, file in zip(reversed(names), reversed(files), strict=True)}
    if len(kinds) > 1 and any(len(kind) > 1 for kind in kinds):
        firsts = some_names(list(reversed(kinds.values())))
        return [f"names of {len(kinds)} kinds ({firsts}) are taken for one clip, in the order of the names"]
    numbers = _numbers(names)
    if numbers is None:
        return []
    signs = f"numbers below 0 come first: {files[0]} to {files[-1]}" if numbers[0] < 0 else ""
    return [signs, _gaps(numbers)]


def _numbers(names: list[Name]) -> list[int] | None:
    """The only numbers in which names of one kind differ."""
    if len({name[::2] for name in names}) != 1:
        return None
    columns = [column for column in list(zip(*names, strict=True))[1::2] if len(set(column)) > 1]
    return [int(number) for number in columns[0]] if len(columns) == 1 else None


def _gaps(numbers: list[int]) -> str:
    """What is missing of numbers that go up by the same step; nothing where they go up by any."""
    steps = [after - before for before, after in pairwise(numbers)]
    step = min(steps)
    if any(other % step for other in steps):
        return ""
    gaps = [(before + step, after - step) for before, after in pairwise(numbers) if after - before > step]
    if not gaps:
        return ""
    count = sum((last - first) // step + 1 for first, last in gaps)
    ranges = some_names([f"{first}" if first == last else f"{first}–{last}" for first, last in gaps])
    what = "the number is" if count == 1 else f"{count} numbers are"
    return f"{what} missing ({ranges}): the frames that are there follow each other without a pause"
