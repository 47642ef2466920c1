"""The ffmpeg that is called: where it is, and whether it has the options that we give it."""

from __future__ import annotations

import re
import shutil
import subprocess

import imageio_ffmpeg

from masactrl_video.errors import UserError

NEEDED_VERSION = (6, 1)
"""The first that knows `-enc_time_base demux`, by which every frame keeps its own time exactly."""

_OUR_OWN = (
    "use the one that imageio-ffmpeg brings: unset IMAGEIO_FFMPEG_EXE, pip install --force-reinstall imageio-ffmpeg"
)


def ffmpeg_program() -> str:
    """The program's file.

    Raises:
        UserError: there is none, or it may not be run.
    """
    try:
        program: str = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise UserError(f"ffmpeg: there is none on this machine; {_OUR_OWN}") from error
    if shutil.which(program) is None:
        raise UserError(f"ffmpeg: {program} is no program that may be run; {_OUR_OWN}")
    return program


def check_ffmpeg() -> str:
    """See that ffmpeg is there and new enough; returns its version as it tells it.

    Raises:
        UserError: it is not.
    """
    program = ffmpeg_program()
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:  # a file of another system, or text
        raise UserError(f"ffmpeg: {program} cannot be run ({error.strerror}); {_OUR_OWN}") from error
    said = re.match(r"ffmpeg version (\S+)", done.stdout)
    if said is None:
        raise UserError(f"ffmpeg: {program} does not answer as ffmpeg does; {_OUR_OWN}")
    number = re.match(r"n?(\d+)\.(\d+)", said[1])  # a build of a day between releases has a name without a number
    if number is not None and (int(number[1]), int(number[2])) < NEEDED_VERSION:
        needed = ".".join(map(str, NEEDED_VERSION))
        raise UserError(f"ffmpeg: {program} is version {said[1]}, {needed} or later is needed; {_OUR_OWN}")
    return said[1]
