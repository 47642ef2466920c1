"""Small text files that people write: settings, stories, scripts."""

from __future__ import annotations

import codecs
from pathlib import Path

from masactrl_video.errors import UserError

_MARKED = (  # UTF-32's first: its mark begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path, what: str, most_bytes: int) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark, as some editors save it.

    Args:
        what: the file is to be, for messages, e.g. `a script`.

    Raises:
        UserError: no ordinary file, too large, or no such text.
    """
    try:
        if path.stat().st_size > most_bytes:
            raise UserError(f"{path}: over {most_bytes} bytes; {what} is a short text")
        if not path.is_file():
            raise UserError(f"{path}: cannot be read as {what} (it is no ordinary file)")
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read as {what} ({error.strerror})") from error
    encoding = next((name for mark, name in _MARKED if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        name = encoding.removesuffix("-sig").upper()
        raise UserError(f"{path}: cannot be read as {what} (it is no text in {name}); save it as UTF-8") from error
    if "\0" in text:
        raise UserError(
            f"{path}: cannot be read as {what} (it holds zero bytes, as UTF-16 without a byte order mark does); save "
            "it as UTF-8"
        )
    return text
