"""What a video file says about itself in its first bytes and its outermost structure, before any library opens it.

A name proves nothing: a playlist or a script called clip.mp4 would make ffmpeg open whatever files it names.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from masactrl_video.errors import UserError
from masactrl_video.video.matroska_end import EBML, lacks_index_only, missing_from_matroska
from masactrl_video.video.mp4_end import lists_all_samples, missing_from_mp4

_MP4_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"}  # MOV and MP4: ISO/IEC 14496-12
_STILL_BRANDS = {b"avif", b"heic", b"heix", b"heim", b"heis", b"mif1"}  # pictures in the boxes of MP4
_PICTURE_STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*", b"\xff\x0a", b"\0\0\0\x0cJXL ", b"8BPS")
_PICTURE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jxl"),
    *(".jp2", ".psd", ".svg", ".ico", ".tga", ".exr", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw"),
)
_GIF_PICTURE, _GIF_EXTENSION, _GIF_END = 0x2C, 0x21, 0x3B  # GIF89a specification, 20, 23, 27


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
        f"{path} is not a video that can be read: its first bytes are those of no MP4, MOV, MKV, WebM or GIF "
        "(playlists and scripts are not opened, whatever they are called)"
    )


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
