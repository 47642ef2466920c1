"""Text for files: names of files may hold bytes that are no letters in any encoding."""

from __future__ import annotations


def encodable(text: str) -> str:
    """Text that UTF-8 can hold. Python reads such a byte of a name as half a letter; it becomes JSON's escape of that.

    So JSON stays what it was, and any other text shows where the byte is.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
