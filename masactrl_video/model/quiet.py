"""diffusers, transformers and the hub's client talk while they load; their talk is not for the user of this package."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import huggingface_hub.utils.logging as hub
from diffusers.utils import logging as diffusers
from transformers.utils import logging as transformers


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
