"""Calling ffmpeg, the one that imageio-ffmpeg brings."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence

import imageio_ffmpeg


def run_ffmpeg(arguments: Sequence[str], *, stdin: Iterable[bytes] = ()) -> str | None:
    """None when it worked, else the first thing that ffmpeg said; what follows it are only the consequences.

    Args:
        stdin: written to ffmpeg part by part, however long one is waited for; what it raises ends ffmpeg.
    """
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-v", "error", "-y", *arguments]
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said) as process:
            try:
                _feed(process, stdin)
            except BaseException:
                process.kill()
                raise
        if process.returncode == 0:
            return None
        said.seek(0)
        reason = said.read().decode(errors="replace").strip().partition("\n")[0]
    return re.sub(r"^\[.*?\] ", "", reason) or f"exit status {process.returncode}"


def _feed(process: subprocess.Popen[bytes], parts: Iterable[bytes]) -> None:
    assert process.stdin is not None
    for part in parts:
        try:
            process.stdin.write(part)
            process.stdin.flush()
        except OSError:  # it has ended; why is in what it said
            break
    with contextlib.suppress(OSError):
        process.stdin.close()


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
