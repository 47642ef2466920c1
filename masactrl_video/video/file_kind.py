"""What a video file says about itself in its first bytes and its outermost structure, before any library opens it.

A name proves nothing: a playlist or a script called clip.mp4 would make ffmpeg open whatever files it names.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from masactrl_video.errors import UserError

_MP4_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"}  # MOV and MP4: ISO/IEC 14496-12
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # Matroska and WebM: RFC 9559
_ASF = bytes.fromhex("3026b2758e66cf11")  # the header object's GUID: Advanced Systems Format specification, 10.1
_PNG = b"\x89PNG\r\n\x1a\n"
_TS_PACKETS_BYTES = (
    (188, 0),
    (192, 4),
    (204, 0),
)  # length, and where its sync byte lies: broadcast, camera, with parity
_TS_SYNC, _TS_PACKETS_COMPARED = 0x47, 5
_GIF_PICTURE, _GIF_EXTENSION, _GIF_END = 0x2C, 0x21, 0x3B  # GIF89a specification, 20, 23, 27


READABLE = "MP4, MOV, MKV, WebM, AVI, MPEG-TS, MPEG, WMV, FLV, Ogg, GIF, animated WebP or APNG"
"""The containers that are read, in words."""


def find_damage(path: Path) -> str:
    """What is wrong with the outermost structure of a video file, in words; empty where it is whole.

    What a file does not announce is not missed (a stream in Matroska has no length).

    Raises:
        UserError: it begins like none of the containers that are read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(12)
        if start[:4] == _EBML:
            return _missing(_matroska_end(file) - size)
        if start[4:8] in _MP4_FIRST_BOXES:
            return _missing(_boxes_end(file, size) - size)
        if start[:6] in (b"GIF87a", b"GIF89a"):
            return "" if _gif_ends(file) else "its pictures do not end as GIF has it"
        if start[:4] == b"RIFF" and (start[8:] == b"AVI " or _is_moving_webp(file)):
            return _missing(int.from_bytes(start[4:8], "little") + 8 - size)
        if _is_apng(file) or _is_without_length(file):
            return ""
    raise UserError(
        f"{path} is not a video that can be read: its first bytes are those of no {READABLE} "
        "(playlists and scripts are not opened, whatever they are called)"
    )


def _is_without_length(file: BinaryIO) -> bool:
    """Whether it is a container that does not say how long it is."""
    file.seek(0)
    start = file.read(max(length for length, _ in _TS_PACKETS_BYTES) * _TS_PACKETS_COMPARED)
    if start.startswith((b"\x00\x00\x01\xba", b"FLV\x01", b"OggS", _ASF)):
        return True
    return any(_has_packets(start, length, sync) for length, sync in _TS_PACKETS_BYTES)


def _has_packets(start: bytes, length: int, sync: int) -> bool:
    """Whether there are packets of an MPEG transport stream (ISO/IEC 13818-1, 2.4.3.2), the first anywhere."""
    for offset in range(length):
        marks = start[offset + sync :: length][:_TS_PACKETS_COMPARED]
        if len(marks) > 2 and set(marks) == {_TS_SYNC}:
            return True
    return False


def is_clear_webp(path: Path) -> bool:
    """Whether a WebP file with an extended header says that it has transparency; False for any other file."""
    with path.open("rb") as file:
        header = file.read(21)
    return header[8:16] == b"WEBPVP8X" and len(header) == 21 and bool(header[20] & 0x10)


def _is_moving_webp(file: BinaryIO) -> bool:
    """Whether the extended header of a WebP file (RFC 9649, 2.7) says that it is an animation."""
    file.seek(8)
    header = file.read(13)
    return header[:8] == b"WEBPVP8X" and len(header) == 13 and bool(header[12] & 0x02)


def _is_apng(file: BinaryIO) -> bool:
    """Whether a PNG announces an animation before its picture (PNG specification, third edition, 11.3.6.1)."""
    file.seek(0)
    if file.read(8) != _PNG:
        return False
    while len(header := file.read(8)) == 8 and header[4:] not in (b"IDAT", b"IEND"):
        if header[4:] == b"acTL":
            return True
        file.seek(int.from_bytes(header[:4], "big") + 4, os.SEEK_CUR)
    return False


def _missing(count: int) -> str:
    return f"{count} bytes or more are missing" if count > 0 else ""


def _gif_ends(file: BinaryIO) -> bool:
    """Whether block follows block up to the trailer; what comes after that is padding."""
    file.seek(10)
    file.seek(13 + _colours_bytes(file.read(1)))
    while (kind := file.read(1)) in (bytes([_GIF_PICTURE]), bytes([_GIF_EXTENSION])):
        if kind[0] == _GIF_PICTURE:
            colours = _colours_bytes(file.read(9)[8:])
            file.seek(colours + 1, os.SEEK_CUR)
        else:
            file.seek(1, os.SEEK_CUR)
        while length := file.read(1):
            if length[0] == 0:
                break
            file.seek(length[0], os.SEEK_CUR)
    return kind == bytes([_GIF_END])


def _colours_bytes(packed: bytes) -> int:
    """Size of the colour table that a packed field announces."""
    return 3 << ((packed[0] & 7) + 1) if packed and packed[0] & 0x80 else 0


def _boxes_end(file: BinaryIO, size: int) -> int:
    """Where the last of the boxes that follow each other from the start would end."""
    offset = 0
    while offset + 8 <= size:
        file.seek(offset)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 1:  # 64 bits follow
            length = int.from_bytes(header[8:16], "big")
        if length < 8:  # 0: up to the end of the file; anything else is damage, which the reader names
            return size
        offset += length
    return offset


def _matroska_end(file: BinaryIO) -> int:
    """Where the segment, which holds everything, would end; 0 where it does not say."""
    file.seek(0)
    offset = 0
    for _ in range(8):  # the EBML header, perhaps padding, the segment
        file.seek(offset)
        name = file.read(4)
        length, width, known = _ebml_number(file)
        if name == _SEGMENT or not known:
            return offset + 4 + width + length if known else 0
        offset += 4 + width + length
    return 0


def _ebml_number(file: BinaryIO) -> tuple[int, int, bool]:
    """A number of variable length: value, bytes taken, and whether it is known (all ones mean unknown)."""
    first = file.read(1)
    if not first or first[0] == 0:
        return 0, 1, False
    width = 9 - first[0].bit_length()
    raw = int.from_bytes(first + file.read(width - 1), "big")
    value = raw & ((1 << (7 * width)) - 1)
    return value, width, value != (1 << (7 * width)) - 1
