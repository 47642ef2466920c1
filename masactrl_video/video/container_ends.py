"""Whether the pictures and sound of a file lie within it, or it was cut off: AVI, Matroska and MP4."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Whether the pictures and sound of an AVI file lie within it: RIFF chunks, in large files several (OpenDML).


def missing_from_avi(file: BinaryIO, size: int) -> int:
    """How many bytes of pictures and sound lie past the end of the file; 0 for none, also where the index is cut.

    Args:
        size: of the file, in bytes.
    """
    offset = 0
    while offset + 12 <= size:
        file.seek(offset)
        header = file.read(12)
        length = int.from_bytes(header[4:8], "little")
        if header[:4] == b"RIFF" and header[8:] in (b"AVI ", b"AVIX"):
            offset += 12  # into it
            continue
        if header[:4] == b"LIST" and header[8:] == b"movi":
            missing = offset + 8 + length - size
            if missing > 0:
                return missing
        offset += 8 + length + length % 2
    return 0


# Whether the pictures and sound of a Matroska or WebM file lie within it: RFC 9559, and 8794 for the numbers.

EBML = b"\x1a\x45\xdf\xa3"
"""A file begins with it."""

_SEGMENT = b"\x18\x53\x80\x67"
_WITHOUT_MEDIA = {
    b"\x1c\x53\xbb\x6b",  # Cues: an index
    b"\x12\x54\xc3\x67",  # Tags
    b"\x19\x41\xa4\x69",  # Attachments
    b"\x10\x43\xa7\x70",  # Chapters
    b"\x11\x4d\x9b\x74",  # SeekHead
}
_VOID = b"\xec"  # padding


def missing_from_matroska(file: BinaryIO, size: int) -> int:
    """How many bytes of the segment lie past the end of the file, where clusters are among them; 0 for none.

    Args:
        size: of the file, in bytes.
    """
    segment = _segment(file)
    if segment is None or segment[1] <= size or lacks_index_only(file, size):
        return 0
    return segment[1] - size


def lacks_index_only(file: BinaryIO, size: int) -> bool:
    """Whether the file ends too early, but after the last cluster: in or after an index or tags."""
    segment = _segment(file)
    if segment is None or segment[1] <= size:
        return False
    offset, is_media = segment[0], True
    while offset < size:
        file.seek(offset)
        name = _name(file)
        length, width, known = _ebml_number(file)
        if not known:
            return False
        is_media = name not in _WITHOUT_MEDIA and (is_media or name != _VOID)
        offset += len(name) + width + length
    return not is_media


def _segment(file: BinaryIO) -> tuple[int, int] | None:
    """Where the content of the segment, which holds everything, begins and would end; None where it does not say."""
    offset = 0
    for _ in range(8):  # the EBML header, perhaps padding, the segment
        file.seek(offset)
        name = _name(file)
        length, width, known = _ebml_number(file)
        start = offset + len(name) + width
        if name == _SEGMENT or not known:
            return (start, start + length) if known else None
        offset = start + length
    return None


def _name(file: BinaryIO) -> bytes:
    """An element's: its first bit that is set tells how many bytes it has."""
    first = file.read(1)
    return first + file.read(8 - first[0].bit_length()) if first and first[0] else first


def _ebml_number(file: BinaryIO) -> tuple[int, int, bool]:
    """A number of variable length: value, bytes taken, and whether it is known (all ones mean unknown)."""
    first = file.read(1)
    if not first or first[0] == 0:
        return 0, 1, False
    width = 9 - first[0].bit_length()
    raw = int.from_bytes(first + file.read(width - 1), "big")
    value = raw & ((1 << (7 * width)) - 1)
    return value, width, value != (1 << (7 * width)) - 1


# Whether the pictures and sound of an MP4 or MOV file lie within it: ISO/IEC 14496-12 (boxes), 8.7 (sample tables).

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
