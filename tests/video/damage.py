"""Damage done to videos, for tests of what is left."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
from video.made_clips import ffmpeg


def damage_packet(path: Path, number: int, stream: str = "0:V:0", *, half: bool = False) -> None:
    """Turn over the bits of a stream's packet, from 0 in the file's order; its length, which comes first, stays.

    half: only those of its second half: a decoder patches up such a picture.
    """
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-map", stream, "-c", "copy"]
    together = subprocess.run([*command, "-f", "data", "-"], check=True, capture_output=True).stdout
    listing = ffmpeg("-i", path, "-map", stream, "-c", "copy", "-f", "framecrc", "-")
    sizes = [int(row.split(",")[4]) for row in listing.splitlines() if not row.startswith("#")]
    end, size, data = sum(sizes[: number + 1]), sizes[number], bytearray(path.read_bytes())
    place = data.index(together[end - min(size, 40) : end]) + min(size, 40) - size
    for n in range(place + (size // 2 if half else 6), place + size - 2):
        data[n] ^= 0xAA
    path.write_bytes(data)
