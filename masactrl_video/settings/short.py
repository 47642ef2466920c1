"""Values in messages."""

from __future__ import annotations

from reprlib import Repr


class _Short(Repr):
    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if x.bit_length() < 1000 else f"a number of {x.bit_length()} bits"


_SHORT = _Short()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 100, 100


def short(value: object) -> str:
    """A value as a message shows it: a few lines of YAML can stand for one of gigabytes."""
    return _SHORT.repr(value)


def shortened(text: str, most: int = 300) -> str:
    """A text without its end where it is long."""
    return text if len(text) <= most else f"{text[:most].rstrip()} …"
