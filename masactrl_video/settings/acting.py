"""Whether the source is used at any denoising step: with few steps, S may lie behind the last one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from masactrl_video.errors import UserError, counted

if TYPE_CHECKING:  # asked before anything is loaded
    from masactrl_video.settings.settings import Settings


def check_steps_act(steps: Sequence[int], num_steps: int) -> None:
    """See that there is a controlled step.

    Raises:
        UserError: there is none.
    """
    if not steps:
        few = "0" if num_steps == 1 else f"0 to {num_steps - 1}"
        none = "the only denoising step is not" if num_steps == 1 else f"none of the {num_steps} denoising steps is"
        raise UserError(
            f"masa_step: {none} controlled: nothing would follow the source; "
            f"give a masa_step of {few} (--masa-step 0 controls all steps), or more num_inference_steps"
        )


def check_steps_exist(steps: Sequence[int], num_steps: int) -> None:
    """See that explicit steps are among the denoising steps.

    Raises:
        UserError: one is not.
    """
    if wrong := [step for step in steps if not 0 <= step < num_steps]:
        of = counted(num_steps, "denoising step")
        raise UserError(f"masa_steps: got {wrong[0]}; of {of} the first is 0 and the last {num_steps - 1}")


def check_source_acts(settings: Settings) -> None:
    """See that a step is controlled, unless the settings say outright that none is to be (an empty `masa_steps`).

    Raises:
        UserError: S, or one of `masa_steps`, lies behind the last step.
    """
    if settings.masa_steps is not None:
        check_steps_exist(settings.masa_steps, settings.num_inference_steps)
    else:
        check_steps_act(range(settings.masa_step, settings.num_inference_steps), settings.num_inference_steps)
