"""Whether the source is used at any denoising step: with few steps, S may lie behind the last one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from masactrl_video.errors import UserError

if TYPE_CHECKING:  # asked before anything is loaded
    from masactrl_video.settings.settings import Settings


def check_steps_act(steps: Sequence[int], num_steps: int) -> None:
    """See that there is a controlled step.

    Raises:
        UserError: there is none.
    """
    if not steps:
        few = "0" if num_steps == 1 else f"0 to {num_steps - 1}"
        raise UserError(
            f"masa_step: none of the {num_steps} denoising steps is controlled: nothing would follow the source; "
            f"give a masa_step of {few} (--masa-step 0 controls all steps), or more num_inference_steps"
        )


def check_source_acts(settings: Settings) -> None:
    """See that a step is controlled, unless the settings say outright that none is to be (an empty `masa_steps`).

    Raises:
        UserError: S lies behind the last step.
    """
    if settings.masa_steps is None:
        check_steps_act(range(settings.masa_step, settings.num_inference_steps), settings.num_inference_steps)
