"""What all loading has in common: silence, errors in one line, and nothing left at random values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from textwrap import shorten

import torch
from safetensors import SafetensorError

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
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        reason = shorten(str(error), 300, placeholder=" ...") or type(error).__name__
        raise UserError(f"{what} {name!r}: it cannot be loaded: {reason}") from error


def check_complete(what: str, name: str, module: torch.nn.Module) -> None:
    """See that the files held every weight: diffusers leaves those that it does not find without values."""
    refuse_missing(what, name, [key for key, tensor in module.state_dict().items() if tensor.is_meta])


def refuse_missing(what: str, name: str, keys: Sequence[str]) -> None:
    """Say which weights are missing, if any are."""
    if keys:
        raise UserError(f"{what} {name!r}: {len(keys)} weights are missing in its files, e.g. {min(keys)}")
