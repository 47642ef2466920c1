"""What all loading has in common: silence, and errors in one line."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from textwrap import shorten
from threading import RLock

import huggingface_hub.utils.logging as hub
from diffusers.utils import logging as diffusers
from transformers.utils import logging as transformers

from masactrl_video.errors import UserError

_ONE_AT_A_TIME = RLock()
"""diffusers and transformers patch classes of torch while they make a network without its values: who loads in another
thread meanwhile gets one that is half without. Their verbosity, and Python's warnings, are the whole process's too. So
the lock belongs to the process, as what it guards does."""


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


@contextmanager
def quietly() -> Iterator[None]:
    """Inside the context, for one thread at a time: no warnings and no bars of those libraries, except of downloads."""
    with _ONE_AT_A_TIME, ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for library in (diffusers, transformers, hub):
            stack.callback(library.set_verbosity, library.get_verbosity())
            library.set_verbosity(library.CRITICAL)
        for library in (diffusers, transformers):
            if library.is_progress_bar_enabled():
                stack.callback(library.enable_progress_bar)
                library.disable_progress_bar()
        yield


def _plainly(said: str) -> str:
    """What a library said, without its advice for those who call it, and without what it has printed elsewhere."""
    if "out of meta tensor" in said:  # one without values was to be moved
        return f"weights are missing in its files ({said})"
    if "ignore_mismatched_sizes" in said:
        return "weights of a text encoder have other shapes than its config.json says: they are of another model"
    return said.partition(" If you want to instead")[0]
