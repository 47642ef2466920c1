"""Calling ffmpeg, the one that imageio-ffmpeg brings."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence

import imageio_ffmpeg


def run_ffmpeg(arguments: Sequence[str], *, stdin: str = "") -> str | None:
    """None when it worked, else the first thing that ffmpeg said; what follows it are only the consequences."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-v", "error", "-y", *arguments]
    result = subprocess.run(command, input=stdin, capture_output=True, text=True, errors="replace")
    if result.returncode == 0:
        return None
    reason = result.stderr.strip().partition("\n")[0]
    return re.sub(r"^\[.*?\] ", "", reason) or f"exit status {result.returncode}"


def ffmpeg_version() -> str:
    """Version and place of ffmpeg. Raises RuntimeError or OSError where there is none."""
    program = imageio_ffmpeg.get_ffmpeg_exe()
    return f"{_listing(program, '-version').split(' Copyright')[0].removeprefix('ffmpeg version ')} in {program}"


def encoders() -> set[str]:
    """Names of all encoders that ffmpeg has."""
    lines = _listing(imageio_ffmpeg.get_ffmpeg_exe(), "-encoders").splitlines()
    return {line.split()[1] for line in lines if re.match(r" [VAS.][F.][S.]", line) and len(line.split()) > 1}


def _listing(program: str, flag: str) -> str:
    command = [program, "-hide_banner", flag]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False).stdout
