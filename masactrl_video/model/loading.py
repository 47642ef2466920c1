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
    except NotImplementedError as error:  # a tensor without values was to be moved
        raise UserError(f"{what} {name!r}: weights are missing in its files ({error})") from error
    except UserError:
        raise
    except Exception as error:  # whatever their code meets in a file that somebody has written
        said = str(error).partition(" If you want to instead")[0]  # their advice is for those who call them
        reason = shorten(said, 300, placeholder=" ...") or type(error).__name__
        raise UserError(f"{what} {name!r}: it cannot be loaded: {reason}") from error
