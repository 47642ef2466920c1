"""Tiny real videos, made by ffmpeg for the tests of video in and video out."""

import subprocess
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg


def ffmpeg(*arguments: object) -> str:
    """Run ffmpeg in silence and return what it wrote to stdout."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def make_clip(
    path: Path, *, size: str = "48x32", frame_rate: str = "25", seconds: float = 0.8, options: tuple[str, ...] = ()
) -> Path:
    """A moving test picture; `options` go before the output's name."""
    picture = f"testsrc2=size={size}:rate={frame_rate}:duration={seconds}"
    pixels = () if path.suffix == ".gif" else ("-pix_fmt", "yuv420p")
    ffmpeg("-f", "lavfi", "-i", picture, *pixels, *options, path)
    return path


def make_sounding_clip(
    path: Path, *, audio_codec: str = "aac", video_codec: str = "libx264", options: tuple[str, ...] = ()
) -> Path:
    """Three seconds of 10 frames/s, with a beep from 1.0 s to 1.2 s."""
    beep = "aevalsrc='if(between(t,1,1.2),sin(2*PI*1000*t),0)':duration=3:sample_rate=48000"
    inputs = ("-f", "lavfi", "-i", "testsrc2=size=32x32:rate=10:duration=3", "-f", "lavfi", "-i", beep)
    ffmpeg(*inputs, "-pix_fmt", "yuv420p", "-c:v", video_codec, "-c:a", audio_codec, *options, path)
    return path


def decoded_hashes(path: Path, stream: int = 0, filters: str = "null") -> list[str]:
    """MD5 of each frame as ffmpeg shows it in RGB, rotation applied."""
    return [row[5].strip() for row in _decoded_rows(path, stream, "-vf", filters, "-pix_fmt", "rgb24")[1]]


def decoded_starts_seconds(path: Path) -> list[float]:
    """When ffmpeg shows each frame, on the clock of the whole file: 0 is where its first stream starts."""
    tick_seconds, rows = _decoded_rows(path, 0, "-enc_time_base", "demux", "-map", "0:a?", "-c:a", "copy")
    return [float(int(row[2]) * tick_seconds) for row in rows]


def _decoded_rows(path: Path, stream: int, *options: str) -> tuple[Fraction, list[list[str]]]:
    listing = ffmpeg(
        *("-i", path, "-map", f"0:V:{stream}", "-fps_mode", "passthrough", *options),
        *("-f", "framehash", "-hash", "md5", "-"),
    )
    lines = listing.splitlines()
    tick = next(line for line in lines if line.startswith("#tb 0: ")).removeprefix("#tb 0: ")
    return Fraction(tick), [line.split(",") for line in lines if line.startswith("0,")]
