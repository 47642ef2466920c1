"""What a video file says about itself in its first bytes and its outermost structure, before any library opens it.

A name proves nothing: a playlist or a script called clip.mp4 would make ffmpeg open whatever files it names.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from masactrl_video.errors import UserError
from masactrl_video.video.container_ends import (
    EBML,
    lacks_index_only,
    lists_all_samples,
    missing_from_avi,
    missing_from_matroska,
    missing_from_mp4,
)

_MP4_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"}  # MOV and MP4: ISO/IEC 14496-12
_STILL_BRANDS = {b"avif", b"heic", b"heix", b"heim", b"heis", b"mif1"}  # pictures in the boxes of MP4
_PICTURE_STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*", b"\xff\x0a", b"\0\0\0\x0cJXL ", b"8BPS")
_PICTURE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jxl"),
    *(".jp2", ".psd", ".svg", ".ico", ".tga", ".exr", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw"),
)
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
    """What is missing at the end of a video file, in words; empty where all its pictures and sound are there.

    An index, tags or padding that are cut off are no damage, and neither is what comes after the end: cameras write
    a trailer of their own there. What a file does not announce is not missed (a stream in Matroska has no length).

    Raises:
        UserError: it is empty, or begins like none of the containers that are read.
    """
    size = path.stat().st_size
    if size == 0:
        raise UserError(f"{path} is empty (0 bytes): get it anew")
    with path.open("rb") as file:
        start = file.read(12)
        if start[:4] == EBML:
            return _missing(missing_from_matroska(file, size))
        if start[4:8] in _MP4_FIRST_BOXES and start[8:12] not in _STILL_BRANDS:
            return _missing(missing_from_mp4(file, size))
        if start[:6] in (b"GIF87a", b"GIF89a"):
            return "" if _gif_ends(file, size) else "its pictures do not end as GIF has it"
        if start[:4] == b"RIFF" and start[8:] == b"AVI ":
            return _missing(missing_from_avi(file, size))
        if start[:4] == b"RIFF" and _is_moving_webp(file):
            return _missing(int.from_bytes(start[4:8], "little") + 8 - size)
        if _is_apng(file) or _is_without_length(file):
            return ""
    raise _no_video(path, start)


def names_all_frames(path: Path) -> bool:
    """Whether an index at the start names every frame, so that none can be missing unnoticed where the file is cut."""
    with path.open("rb") as file:
        return file.read(8)[4:] in _MP4_FIRST_BOXES and lists_all_samples(file, path.stat().st_size)


def ends_in_index(path: Path) -> bool:
    """Whether the file is cut off, but after all pictures and sound; a reader calls that premature all the same."""
    with path.open("rb") as file:
        return file.read(4) == EBML and lacks_index_only(file, path.stat().st_size)


def _no_video(path: Path, start: bytes) -> UserError:
    is_picture = start.startswith(_PICTURE_STARTS) or start[8:12] in {*_STILL_BRANDS, b"WEBP"}
    if is_picture or path.suffix.lower() in _PICTURE_SUFFIXES:
        what = "is a picture, not a clip" if is_picture else "is named like a picture, and is no clip"
        return UserError(
            f"{path} {what}: `masactrl-video edit` changes a picture, and --source-image makes one the character of a "
            "clip"
        )
    return UserError(
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
    words = "1 byte or more is missing" if count == 1 else f"{count} bytes or more are missing"
    return words if count > 0 else ""


def _gif_ends(file: BinaryIO, size: int) -> bool:
    """Whether block follows block up to the trailer, or up to an end without one; what comes after it is padding."""
    file.seek(10)
    file.seek(13 + _colours_bytes(file.read(1)))
    while (kind := file.read(1)) in (bytes([_GIF_PICTURE]), bytes([_GIF_EXTENSION])):
        if kind[0] == _GIF_PICTURE:
            colours = _colours_bytes(file.read(9)[8:])
            file.seek(colours + 1, os.SEEK_CUR)
        else:
            file.seek(1, os.SEEK_CUR)
        while (length := file.read(1)) != b"\0":
            if not length:
                return False
            file.seek(length[0], os.SEEK_CUR)
    return kind == bytes([_GIF_END]) or file.tell() == size


def _colours_bytes(packed: bytes) -> int:
    """Size of the colour table that a packed field announces."""
    return 3 << ((packed[0] & 7) + 1) if packed and packed[0] & 0x80 else 0
