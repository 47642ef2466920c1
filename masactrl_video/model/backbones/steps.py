"""Which denoising step a call of the denoiser belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from masactrl_video.errors import UserError, counted
from masactrl_video.model.backbones.branches import Branch


def _never() -> bool:
    return False


@dataclass(frozen=True)
class DenoiserCall:
    """What attention needs to know of the denoiser's call that it is part of."""

    timestep: float
    rows: int
    """Batch size of the call: branches x frames."""
    latent_size: tuple[int, int]
    """Height and width of the latents."""
    rounding: float = 0.0
    """By how much the number format in which the timestep came may have changed it, as a part of the timestep."""
    text_tokens: int | None = None
    """Of the prompt, where a family tells them."""
    is_doubled: Callable[[], bool] = _never
    """Whether each picture comes twice, for two branches; asked of families whose `prompt_comes_first` alone."""


class StepClock:
    """The denoising step in progress, as the loop that does it says.

    Where a loop of our own is running, a step is known by this; the calls of other loops are known by their timestep
    alone (see `index_of_timestep`).
    """

    def __init__(self) -> None:
        self._step: int | None = None
        self._branches: Sequence[Branch] | None = None
        self._joins_branches = False

    @property
    def step(self) -> int | None:
        """Index of the step in progress, counted from 0; None between steps, and where no loop of ours runs."""
        return self._step

    def now(self) -> int:
        """Index of the step in progress, for those who are called by a loop of ours alone."""
        if self._step is None:
            raise RuntimeError("the denoiser was called between the steps of a loop of ours")
        return self._step

    @property
    def branches(self) -> Sequence[Branch] | None:
        """Of which branches the rows of the call in progress are; None: of all that the loop has."""
        return self._branches

    @property
    def joins_branches(self) -> bool:
        """Whether all branches may come in one call, although in the family's pipeline each has a call of its own.

        That costs less; its last bits are others.
        """
        return self._joins_branches

    @contextmanager
    def joining(self, *, joins: bool = True) -> Iterator[None]:
        """Inside the context, branches may be joined (see `joins_branches`)."""
        before, self._joins_branches = self._joins_branches, joins
        try:
            yield
        finally:
            self._joins_branches = before

    @contextmanager
    def of(self, branches: Sequence[Branch]) -> Iterator[None]:
        """Inside the context, the calls of the denoiser have rows of these branches alone."""
        before, self._branches = self._branches, branches
        try:
            yield
        finally:
            self._branches = before

    @contextmanager
    def at(self, step: int) -> Iterator[None]:
        """Inside the context, the calls of the denoiser belong to this step."""
        before, self._step = self._step, step
        try:
            yield
        finally:
            self._step = before


class BranchFinder:
    """Finds the branches that the rows of a call are of."""

    def __init__(
        self, branches: Sequence[str], clock: StepClock, *, each_has_a_call: bool, prompt_first: bool = False
    ) -> None:
        """All branches of a step in their order, and how they are called.

        Args:
            each_has_a_call: see `Backbone.calls_each_branch`.
            prompt_first: see `Backbone.prompt_comes_first`.
        """
        self.all, self._clock = branches, clock
        self.each_has_a_call, self._prompt_first = each_has_a_call, prompt_first
        self._last: float | None = None

    def of(self, call: DenoiserCall) -> Sequence[str]:
        """By the clock; without it, of calls at one timestep the first is the prompt's own.

        Raises:
            UserError: a call of both branches where one was expected.
        """
        is_ours = self._clock.step is not None
        if len(self.all) == 1:
            if self._prompt_first and not is_ours and call.is_doubled():
                raise UserError(
                    "a call of the denoiser had each picture twice: real guidance, with the negative prompt in the "
                    "same call; say so with branches=GUIDED, or take guidance_scale 0"
                )
            return self.all
        if self._clock.branches is not None:
            return self._clock.branches
        if self._prompt_first:
            return self.all[::-1] if is_ours or call.is_doubled() else ("conditional",)
        if not self.each_has_a_call or is_ours:
            return self.all
        is_second, self._last = call.timestep == self._last, call.timestep
        return ("unconditional",) if is_second else ("conditional",)


@dataclass(frozen=True)
class StepFinder:
    """Finds the step of a call among those of a source."""

    timesteps: Sequence[float]
    """Of the source's denoising steps."""
    clock: StepClock = field(default_factory=StepClock)

    def step_of(self, call: DenoiserCall) -> int:
        """By the clock; without it by the timestep.

        Raises:
            UserError: a step or a timestep that the source does not have.
        """
        step = self.clock.step
        if step is None:
            return index_of_timestep(self.timesteps, call.timestep, call.rounding)
        if not 0 <= step < len(self.timesteps):
            raise UserError(
                f"denoising step {step} is not among the source's {counted(len(self.timesteps), 'step')}; source and "
                "target need the same number of steps"
            )
        return step


def index_of_timestep(timesteps: Sequence[float], timestep: float, rounding: float = 0.0) -> int:
    """Index of the denoising step at `timestep`: the calls of a foreign loop are never counted.

    A timestep that came in a coarse number format belongs to the nearest step, if rounding explains the difference and
    no other step lies as near.

    Args:
        rounding: by how much the timestep may have been changed, as a part of it; 0 asks for the very number.

    Raises:
        UserError: no step, or more than one.
    """
    gaps = [abs(first - second) for first, second in pairwise(sorted(timesteps))]
    reach = min([abs(timestep) * rounding, *(gap / 2 for gap in gaps if gap)])
    matches = [index for index, known in enumerate(timesteps) if known == timestep] or [
        index for index, known in enumerate(timesteps) if rounding and abs(known - timestep) <= reach
    ]
    if len(matches) != 1:
        span = f"{timesteps[0]:g} to {timesteps[-1]:g}" if timesteps else "none"
        raise UserError(
            f"timestep {timestep:g} is {'not' if not matches else 'more than once'} among the source's "
            f"{counted(len(timesteps), 'step')} ({span}); source and target need the same scheduler and number of steps"
        )
    return matches[0]
