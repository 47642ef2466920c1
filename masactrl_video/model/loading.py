"""What all loading has in common: silence, and errors in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import shorten

from masactrl_video.errors import UserError
from masactrl_video.model.quiet import quietly


@contextmanager
def loading(what: str, name: str) -> Iterator[None]:
    """Load inside the context; what the libraries complain of becomes one line about `name`."""
    try:
        with quietly():
            yield
    except UserError:
        raise
    except Exception as error:  # whatever their code meets in a file that somebody has written
        said = _plainly(str(error))
        reason = shorten(said, 300, placeholder=" ...") or type(error).__name__
        raise UserError(f"{what} {name!r}: it cannot be loaded: {reason}") from error


def _plainly(said: str) -> str:
    """What a library said, without its advice for those who call it, and without what it has printed elsewhere."""
    if "out of meta tensor" in said:  # one without values was to be moved
        return f"weights are missing in its files ({said})"
    if "ignore_mismatched_sizes" in said:
        return "weights of a text encoder have other shapes than its config.json says: they are of another model"
    return said.partition(" If you want to instead")[0]
