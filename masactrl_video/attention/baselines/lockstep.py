"""Source and target in lockstep: what the source's UNet call leaves, the target's call at the same step uses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention

from masactrl_video.attention.recorded import branch_rows
from masactrl_video.model.backbones.branches import Branch
from masactrl_video.model.backbones.qkv import split_heads
from masactrl_video.model.backbones.steps import DenoiserCall, StepClock, StepFinder
from masactrl_video.model.backbones.unet.layers import Layer
from masactrl_video.model.backbones.unet.processors import Processor, finished


class Lockstep:
    """Whose UNet call is in progress, what is kept of the source's at this step, and the count of what was injected."""

    def __init__(
        self,
        timesteps: Sequence[float],
        source_branches: Sequence[str],
        branches: Sequence[Branch],
        clock: StepClock | None = None,
    ) -> None:
        self._steps, self.branches = StepFinder(timesteps, clock or StepClock()), branches
        self.is_target = False
        self.step = 0
        self.kept: dict[str, tuple[torch.Tensor, ...]] = {}
        """Name of a module → what its injection needs of the source's call, one row a branch of the source."""
        self.fired: Counter[tuple[int, str]] = Counter()
        """(step, name) → injections made."""
        self._rows = branch_rows(source_branches, branches)

    def begin(self, call: DenoiserCall) -> None:
        """Start of a UNet call: find its step."""
        step = self._steps.step_of(call)
        if self.is_target and step != self.step:
            raise RuntimeError(f"the target is at step {step}, the source at {self.step}: they must go side by side")
        if not self.is_target:
            self.kept.clear()
        self.step = step

    @contextmanager
    def target(self) -> Iterator[None]:
        """Inside, UNet calls are the target's; outside, the source's."""
        self.is_target = True
        try:
            yield
        finally:
            self.is_target = False

    def for_all_rows(self, states: torch.Tensor, rows: int) -> torch.Tensor:
        """(source branches, ...) → (rows, ...): each target row gets the states of its own branch."""
        own = states[self._rows]
        return own.repeat_interleave(rows // own.shape[0], dim=0)

    def conditional_rows(self, rows: int) -> int:
        """How many of the last rows of a target's call are conditional: its frames."""
        return rows // len(self.branches)

    def check_fired(self, steps_of: Mapping[str, Collection[int]]) -> None:
        """See that every injection happened once at each of its steps, and nowhere else.

        Args:
            steps_of: name of a module → the steps at which it is injected.

        Raises:
            RuntimeError: one did not, or did elsewhere.
        """
        expected = Counter({(step, name): 1 for name, steps in steps_of.items() for step in steps})
        if expected != self.fired:
            (step, name), _ = next(iter((expected - self.fired or self.fired - expected).items()))
            count = self.fired[step, name]
            raise RuntimeError(f"step {step}, {name}: injected {count} times, expected {expected[step, name]}")


class SourceQueriesKeys:
    """Self-attention whose queries and keys, that is whose attention map, are the source's; the values stay its own."""

    def __init__(
        self, layer: Layer, original: Processor, lockstep: Lockstep, steps: Collection[int], conditional_only: bool
    ) -> None:
        self.layer, self.original, self.lockstep, self.steps = layer, original, lockstep, steps
        self.conditional_only = conditional_only

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        lockstep, name, rows = self.lockstep, self.layer.name, hidden_states.shape[0]
        acts = lockstep.step in self.steps
        if acts and not lockstep.is_target:
            lockstep.kept[name] = (attn.to_q(hidden_states).detach(), attn.to_k(hidden_states).detach())
        if not (acts and lockstep.is_target):
            plain: torch.Tensor = self.original(attn, hidden_states, *args, **kwargs)
            return plain
        lockstep.fired[lockstep.step, name] += 1
        query, key = (lockstep.for_all_rows(states, rows) for states in lockstep.kept[name])
        if not self.conditional_only:
            return _attended(attn, query, key, hidden_states)
        frames = lockstep.conditional_rows(rows)
        plain = self.original(attn, hidden_states, *args, **kwargs)
        ours = _attended(attn, query[-frames:], key[-frames:], hidden_states[-frames:])
        return torch.cat([plain[:-frames], ours])


def _attended(attn: Attention, query: torch.Tensor, key: torch.Tensor, hidden_states: torch.Tensor) -> torch.Tensor:
    """Attention by given queries and keys, all (rows, tokens, channels)."""
    query, key, value = (split_heads(states, attn.heads) for states in (query, key, attn.to_v(hidden_states)))
    out = F.scaled_dot_product_attention(query, key, value)  # -> (rows, heads, tokens, head_dim)
    return finished(attn, out.transpose(1, 2).flatten(2), hidden_states)
