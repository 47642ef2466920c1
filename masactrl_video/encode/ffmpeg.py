"""Calling ffmpeg, the one that imageio-ffmpeg brings."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence

from masactrl_video.video.ffmpeg_program import ffmpeg_program


def run_ffmpeg(arguments: Sequence[str], *, stdin: Iterable[bytes] = ()) -> str | None:
    """None when it worked, else the first thing that ffmpeg said; what follows it are only the consequences.

    Args:
        stdin: written to ffmpeg part by part, however long one is waited for; what it raises ends ffmpeg.
    """
    command = [ffmpeg_program(), "-hide_banner", "-v", "error", "-y", *arguments]
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


def names_of(kind: str) -> set[str]:
    """Names of all `encoders`, `decoders`, `muxers`, `demuxers` or `bsfs` that ffmpeg has.

    Raises:
        UserError: there is no ffmpeg.
    """
    command = [ffmpeg_program(), "-hide_banner", f"-{kind}"]
    listing = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False).stdout
    if kind == "bsfs":
        return set(listing.split())
    # " V....D libx264   H.264 …" and " D   mov,mp4,m4a   QuickTime …", below a legend whose lines have " = "
    rows = re.findall(r"^ [A-Z. ]{2,6} +([^\s=]\S*)", listing, re.MULTILINE)
    return {name for row in rows for name in row.split(",")}
