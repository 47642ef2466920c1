"""The calls of a denoiser, watched from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch

from masactrl_video.model.backbones.steps import DenoiserCall


@contextmanager
def watching(
    network: torch.nn.Module,
    described: Callable[[tuple[object, ...], dict[str, object]], DenoiserCall],
    on_begin: Callable[[DenoiserCall], None],
    on_end: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Inside the context, `on_begin` and `on_end` are called at the start and the end of each call.

    Args:
        described: what a call with these positional and named arguments is.
    """
    with ExitStack() as stack:
        begin = network.register_forward_pre_hook(
            lambda _, args, kwargs: on_begin(described(args, kwargs)), with_kwargs=True
        )
        stack.callback(begin.remove)
        if on_end is not None:
            end = on_end
            stack.callback(network.register_forward_hook(lambda *_: end()).remove)
        yield
