"""Calls of a transformer that compute some of the picture's tokens; what the others offer comes from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch

Cut = Callable[[torch.Tensor], torch.Tensor]
"""(rows, tokens, channels) → those of the tokens that are computed."""

CutMade = Callable[[Any, Cut], Any]
"""What a part of the network gives, and how to cut it → the same of the tokens that are computed."""


@contextmanager
def some_tokens(
    network: torch.nn.Module,
    chosen: torch.Tensor,
    arguments: Mapping[str, int],
    made_inside: Mapping[str, CutMade] | None = None,
) -> Iterator[None]:
    """Inside the context, the network computes the chosen tokens; its last layer, `proj_out`, gives 0 for the others.

    It has to be entered behind all that watches the network's calls: these see them as they were made.

    Args:
        chosen: (tokens,) bool.
        arguments: those of a call that have a place for each token, and the axis that has it; lists are of such.
        made_inside: name of a part of the network that gives something for each token → how that is cut.
    """
    tokens = chosen.nonzero().squeeze(1)
    is_inside = [False]

    def begin(_: object, args: tuple[object, ...], kwargs: dict[str, Any]) -> tuple[tuple[object, ...], dict[str, Any]]:
        if args:
            raise RuntimeError("some tokens alone: a call's arguments come by their names")
        is_inside[0] = True
        return args, kwargs | {
            name: _cut(kwargs[name], tokens, axis) for name, axis in arguments.items() if kwargs.get(name) is not None
        }

    def end(*_: object) -> None:
        is_inside[0] = False

    def inside(how: CutMade) -> Callable[[object, object, Any], Any]:
        return lambda _, __, out: how(out, lambda states: states[:, tokens]) if is_inside[0] else None

    def whole(_: object, __: object, out: torch.Tensor) -> torch.Tensor:
        return out.new_zeros(out.shape[0], len(chosen), *out.shape[2:]).index_copy_(1, tokens, out)

    with ExitStack() as stack:
        handles = [
            network.register_forward_pre_hook(begin, with_kwargs=True),
            network.register_forward_hook(end, always_call=True),
            cast(torch.nn.Module, network.proj_out).register_forward_hook(whole),
            *(
                network.get_submodule(name).register_forward_hook(inside(how))
                for name, how in (made_inside or {}).items()
            ),
        ]
        for handle in handles:
            stack.callback(handle.remove)
        yield


def _cut(given: Any, tokens: torch.Tensor, axis: int) -> Any:
    if isinstance(given, (list, tuple)):
        return [_cut(one, tokens, axis) for one in given]
    return given.index_select(axis, tokens.to(given.device))
