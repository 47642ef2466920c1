"""Paths given by the user: local only, so that no reader takes them for an address or a protocol."""

from __future__ import annotations

import re
from pathlib import Path

from masactrl_video.errors import UserError

_PROTOCOL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # two characters at least: "C:" is a drive


def local_path(path: Path) -> Path:
    """The absolute path of an existing local file or folder.

    An absolute path cannot be taken for a protocol of ffmpeg, even when a file is really named "concat:x".

    Raises:
        UserError: there is no such file or folder, it is a device or a pipe, or the text is an address such as
            "https://…" or "concat:…".
    """
    if path.is_file() or path.is_dir():
        return path.absolute()
    if path.exists():
        raise UserError(f"{path} is neither a file nor a folder: devices and pipes are not read")
    if _PROTOCOL.match(str(path)):
        raise UserError(f"{path} is an address, not a local file: download it and give the path of the file")
    raise UserError(f"no such file or folder: {path}")
