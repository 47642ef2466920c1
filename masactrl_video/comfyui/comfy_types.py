"""What this package asks of ComfyUI's objects, written down from how they are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch

Options = dict[str, Any]
"""ComfyUI's `transformer_options` of one call of the denoiser."""


class Patcher(Protocol):
    """ComfyUI's MODEL: weights that are shared, and patches that are one's own."""

    model: Any
    wrappers: Mapping[str, Mapping[str, Sequence[Callable[..., Any]]]]
    backup: Mapping[str, Any]

    def clone(self) -> Patcher:
        """The same weights with patches of its own."""

    def add_wrapper_with_key(self, wrapper_type: str, key: str, wrapper: Callable[..., Any]) -> None:
        """From now on `wrapper(executor, *arguments)` is called around something."""

    def remove_wrappers_with_key(self, wrapper_type: str, key: str) -> None:
        """Undo that."""

    def set_attachments(self, key: str, attachment: object) -> None:
        """Keep something with the model."""

    def get_attachment(self, key: str) -> Any:
        """What is kept with the model under a key, or None."""


RUN, STEP, CALL = "outer_sample", "calc_cond_batch", "diffusion_model"
"""Kinds of wrappers: around a whole run of a sampler, around all prompts' calls at a noise level, and around one."""


def sigma_of(options: Options) -> float:
    """The noise level of a call."""
    sigmas = options["sigmas"]
    return float(sigmas.flatten()[0]) if isinstance(sigmas, torch.Tensor) else float(sigmas[0])


def branches_of(options: Options) -> list[str]:
    """Branch of each chunk of the rows: 0 is the positive prompt; everything else stands against it."""
    chunks: Iterable[int] = options["cond_or_uncond"]
    return ["conditional" if chunk == 0 else "unconditional" for chunk in chunks]
