"""Whether the pictures and sound of an MP4 or MOV file lie within it: ISO/IEC 14496-12 (boxes), 8.7 (sample tables)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

_TOP_LEVEL = {
    *(b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"moof", b"mfra", b"meta", b"udta", b"uuid"),
    *(b"sidx", b"ssix", b"styp", b"pdin", b"emsg", b"prft"),
}
_TABLES = {b"trak", b"mdia", b"minf", b"stbl"}
"""Boxes on the way to the sample tables."""

_NEEDED_IN_MOOV = {b"mvhd", b"trak", b"mvex"}
"""The rest of it are tags."""


class _Box(NamedTuple):
    kind: bytes
    start: int
    """Of its content, in bytes from the file's start."""
    end: int
    """As it claims."""


def missing_from_mp4(file: BinaryIO, size: int) -> int:
    """How many bytes of pictures and sound, or of what describes them, would lie past the end of the file; 0 for none.

    Args:
        size: of the file, in bytes.
    """
    seen: dict[bytes, _Box] = {}
    for box in _boxes(file, 0, size):
        if box.kind not in _TOP_LEVEL:  # a trailer of the camera's own
            return 0
        if box.end > size:
            return _missing_from(file, box, seen, size)
        seen[box.kind] = box
    return 0


def lists_all_samples(file: BinaryIO, size: int) -> bool:
    """Whether one box describes all samples: not where fragments each describe their own."""
    kinds = [box.kind for box in _boxes(file, 0, size) if box.end <= size]
    return b"moov" in kinds and b"moof" not in kinds


def _missing_from(file: BinaryIO, box: _Box, seen: dict[bytes, _Box], size: int) -> int:
    """Of the box that does not end within the file."""
    if box.kind == b"moov":
        is_cut = any(inner.end > size and inner.kind in _NEEDED_IN_MOOV for inner in _boxes(file, box.start, size))
        return box.end - size if is_cut else 0
    if box.kind == b"mdat" and b"moov" in seen and b"moof" not in seen:
        media_end = _media_end(file, seen[b"moov"])
        return box.end - size if media_end is None else max(0, media_end - size)
    return box.end - size if box.kind in (b"mdat", b"moof") else 0


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[_Box]:
    """The boxes that follow each other; the last may claim more than there is. Ends at what can be none."""
    while start + 8 <= end:
        file.seek(start)
        header = file.read(16)
        length, content = int.from_bytes(header[:4], "big"), 8
        if length == 1:  # 64 bits follow
            length, content = int.from_bytes(header[8:16], "big"), 16
        if length < content:  # 0: up to the end of the file; anything else is damage, which the reader names
            return
        yield _Box(header[4:8], start + content, start + length)
        start += length


def _media_end(file: BinaryIO, box: _Box) -> int | None:
    """Where the last sample of any track ends, by the tables; None where they make no sense."""
    tables: dict[bytes, bytes] = {}
    ends: list[int | None] = []
    for inner in _boxes(file, box.start, box.end):
        if inner.kind in _TABLES:
            ends.append(_media_end(file, inner))
        elif inner.kind in (b"stco", b"co64", b"stsc", b"stsz"):
            file.seek(inner.start)
            tables[inner.kind] = file.read(inner.end - inner.start)
    if box.kind == b"stbl":
        try:
            ends.append(_samples_end(tables))
        except (KeyError, ValueError, IndexError):
            return None
    known = [end for end in ends if end is not None]
    return max(known) if ends and len(known) == len(ends) else None


def _samples_end(tables: dict[bytes, bytes]) -> int:
    """Where the last sample of a track ends: chunks of samples, each chunk with its place in the file."""
    offsets = _numbers(tables[b"co64"], ">u8") if b"co64" in tables else _numbers(tables[b"stco"], ">u4")
    runs = _numbers(tables[b"stsc"], ">u4", 3).reshape(-1, 3)  # first chunk (from 1), samples in each, description
    one_size, count = np.frombuffer(tables[b"stsz"][4:12], ">u4").astype(np.int64)
    sizes = np.full(count, one_size) if one_size else np.frombuffer(tables[b"stsz"][12:], ">u4").astype(np.int64)
    if len(sizes) != count or not len(offsets):
        raise ValueError("a table is cut")
    lengths = np.diff([*runs[:, 0], len(offsets) + 1])
    samples = np.cumsum(np.repeat(runs[:, 1], lengths))
    bytes_before = np.concatenate([[0], np.cumsum(sizes)])
    ends = bytes_before[samples]
    return int(np.max(offsets + np.diff([0, *ends])))


def _numbers(table: bytes, kind: str, columns: int = 1) -> NDArray[np.int64]:
    """The rows of a table: four bytes of flags, their count, and they themselves."""
    count = int.from_bytes(table[4:8], "big") * columns
    return np.frombuffer(table[8:], kind, count).astype(np.int64)
