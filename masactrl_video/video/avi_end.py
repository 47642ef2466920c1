"""Whether the pictures and sound of an AVI file lie within it: RIFF chunks, in large files several (OpenDML)."""

from __future__ import annotations

from typing import BinaryIO


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
