"""What all loading has in common: silence, and errors in one line."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from textwrap import shorten

import huggingface_hub.utils.logging as hub
from diffusers.utils import logging as diffusers
from transformers.utils import logging as transformers

from masactrl_video.errors import UserError


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


@contextmanager
def quietly() -> Iterator[None]:
    """Inside the context: no warnings and no progress bars of those libraries, except the bars of downloads."""
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for library in (diffusers, transformers, hub):
            stack.callback(library.set_verbosity, library.get_verbosity())
            library.set_verbosity(library.CRITICAL)
        for library in (diffusers, transformers):
            if library.is_progress_bar_enabled():
                stack.callback(library.enable_progress_bar)
                library.disable_progress_bar()
        yield
