"""One call of the denoiser, as ComfyUI hands it to wrappers: its arguments differ from model to model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from masactrl_video.comfyui.comfy_types import Options, branches_of, sigma_of
from masactrl_video.errors import UserError

_NAME = "transformer_options"


@dataclass(frozen=True)
class Call:
    """A call of the denoiser that is about to be made."""

    executor: Callable[..., torch.Tensor]
    arguments: Sequence[Any]
    named: Mapping[str, Any]

    @property
    def x(self) -> torch.Tensor:
        """The noisy latents: (rows, channels, height, width), or with a dimension of time before the height."""
        latents: torch.Tensor = self.arguments[0]
        return latents

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the latents."""
        return self.x.shape[-2], self.x.shape[-1]

    @property
    def context(self) -> torch.Tensor:
        """The prompts' states, (rows, text tokens, channels)."""
        found: torch.Tensor = self.arguments[2] if len(self.arguments) > 2 else self.named["context"]
        return found

    @property
    def options(self) -> Options:
        """Its `transformer_options`."""
        place = self._place()
        found: Options = self.named[_NAME] if place is None else self.arguments[place]
        return found

    @property
    def sigma(self) -> float:
        """Its noise level."""
        return sigma_of(self.options)

    @property
    def branches(self) -> list[str]:
        """Of which branch the chunks of its rows are."""
        return branches_of(self.options)

    @property
    def prompted(self) -> slice:
        """Rows of the positive prompt; none where it is not in this call.

        Raises:
            UserError: there are several.
        """
        branches, rows = self.branches, len(self.x) // len(self.branches)
        if branches.count("conditional") > 1:
            raise UserError(
                f"words: this call has {branches.count('conditional')} prompts, for areas or ranges of timesteps; give "
                "one prompt, or masks"
            )
        if "conditional" not in branches:
            return slice(0, 0)
        first = branches.index("conditional") * rows
        return slice(first, first + rows)

    def made(self, options: Options) -> torch.Tensor:
        """Make the call with other `transformer_options`."""
        place = self._place()
        if place is None:
            return self.executor(*self.arguments, **{**self.named, _NAME: options})
        return self.executor(*self.arguments[:place], options, *self.arguments[place + 1 :], **self.named)

    def _place(self) -> int | None:
        """Where they stand among the arguments; None: they came by name."""
        if _NAME in self.named:
            return None
        for place, argument in enumerate(self.arguments):
            if isinstance(argument, dict) and "cond_or_uncond" in argument:
                return place
        raise UserError("model: its calls do not say which prompt they are for; this ComfyUI is too old or too new")
