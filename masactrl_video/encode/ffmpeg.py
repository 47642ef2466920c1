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
