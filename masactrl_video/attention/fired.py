"""The count of controlled attention calls, against what the plan implies."""

from __future__ import annotations

from collections import Counter

import torch

from masactrl_video.attention.plan import ControlPlan
from masactrl_video.errors import UserError


def check_all_called(denoiser: torch.nn.Module) -> None:
    """See that no cache of diffusers (`enable_cache`) is on, which leaves out attention calls as it sees fit.

    Raises:
        UserError: one is.
    """
    if getattr(denoiser, "is_cache_enabled", False):
        raise UserError(
            f"a cache is enabled on this {type(denoiser).__name__}, which leaves out calls of its attention, so that "
            "the source would be missed there; call disable_cache() on it first"
        )


class CallCount:
    """What happened in the steps of a context."""

    def __init__(self) -> None:
        self.calls: Counter[int] = Counter()
        """Step → calls of the denoiser made at it."""
        self.batches: Counter[int] = Counter()
        """The same, without calls of a negative prompt alone."""
        self.fired: Counter[tuple[int, str]] = Counter()
        """(step, layer) → attention calls that used the sources."""

    def check(self, plan: ControlPlan, steps: int, calls_per_step: int | None = None) -> dict[str, int]:
        """Compare the controlled attention calls with what the plan implies.

        Args:
            steps: of the denoising, controlled or not.
            calls_per_step: batches that every step must have seen, where the caller knows.

        Returns:
            Figures for the run's report.

        Raises:
            RuntimeError: a layer was not controlled in a call where it had to be, or where it must not.
        """
        if calls_per_step is not None:
            counts = {step: self.batches[step] for step in range(steps)}
            wrong = {step: count for step, count in counts.items() if count != calls_per_step}
            if wrong:
                raise RuntimeError(f"calls of the denoiser per denoising step: expected {calls_per_step}, got {wrong}")
        expected = Counter(
            {
                (step, layer.name): self.calls[step]
                for step in plan.steps
                for layer in plan.layers_at(step)
                if self.calls[step]
            }
        )
        if expected != self.fired:
            (step, layer), count = next(iter((expected - self.fired or self.fired - expected).items()))
            raise RuntimeError(
                f"mutual self-attention was off by {count} calls at step {step}, layer {layer}: "
                f"{self.fired.total()} controlled attention calls, expected {expected.total()}"
            )
        return {
            "steps": len(plan.steps),
            "layers": len(plan.layers),
            "unet_calls": self.calls.total(),
            "controlled_attention_calls": self.fired.total(),
            "expected_attention_calls": expected.total(),
        }
