"""The calls of FLUX's transformer, watched from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from diffusers import FluxTransformer2DModel

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.calls import watching
from masactrl_video.model.backbones.flux.packing import grid_of
from masactrl_video.model.backbones.joint.packing import PATCH
from masactrl_video.model.backbones.steps import DenoiserCall

_ORDER = ("hidden_states", "encoder_hidden_states", "pooled_projections", "timestep", "img_ids", "txt_ids")
"""Of the arguments that may come without their names."""


def watch_calls(
    transformer: FluxTransformer2DModel,
    on_begin: Callable[[DenoiserCall], None],
    on_end: Callable[[], None] | None = None,
    title: str = "FLUX",
    order: Sequence[str] = _ORDER,
) -> AbstractContextManager[None]:
    """Inside the context, each call of the transformer is told of (see `watching`).

    Args:
        title: what people call the family.
        order: of the arguments that may come without their names.
    """
    return watching(
        transformer,
        lambda args, kwargs: described(title, {**dict(zip(order, args, strict=False)), **kwargs}),
        on_begin,
        on_end,
    )


Given = Mapping[str, Any]
"""Arguments of a call by their names."""


def described(title: str, given: Given) -> DenoiserCall:
    """What a call with these arguments is.

    Raises:
        UserError: its tokens are no single picture's, or of several timesteps.
    """
    timestep, grid = given["timestep"], grid_of(given["img_ids"])
    if grid is None or given.get("kv_cache") is not None:
        raise UserError(
            f"a call of {title}'s transformer had tokens that are no single picture's (another picture beside it, or "
            "one that is cut): mutual self-attention is for a picture made from text alone"
        )
    values = set(timestep.flatten().tolist())
    if len(values) != 1:
        raise UserError(
            f"a call of {title}'s transformer mixes the timesteps {sorted(values)}; use one timestep a call"
        )
    rounding = float(torch.finfo(timestep.dtype).eps)  # a thousandth of the timestep came
    rows, (height, width) = given["hidden_states"].shape[0], grid
    text_tokens = given["encoder_hidden_states"].shape[1]
    return DenoiserCall(values.pop() * 1000, rows, (height * PATCH, width * PATCH), rounding, text_tokens)
