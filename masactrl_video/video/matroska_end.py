"""Whether the pictures and sound of a Matroska or WebM file lie within it: RFC 9559, and 8794 for the numbers."""

from __future__ import annotations

from typing import BinaryIO

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
