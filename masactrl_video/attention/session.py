"""What the controlled layers of a denoiser share: the step in progress, its record, and the count of what was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch

from masactrl_video.attention.masks import MaskRule, binary_mask, normalised
from masactrl_video.attention.mutual import Sides, masked_attention, source_attention, source_share, union_attention
from masactrl_video.attention.plan import ControlPlan
from masactrl_video.attention.recorded import RecordedSource, StepRecord, branch_rows
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer
from masactrl_video.model.backbones.branches import Branch
from masactrl_video.model.backbones.qkv import QKV, as_one_long_query, by_branch, merge_heads, split_heads
from masactrl_video.model.backbones.steps import DenoiserCall, StepClock, StepFinder


class AttentionControl:
    """What the controlled layers share during one context, and the count of what they did."""

    def __init__(
        self,
        source: RecordedSource,
        plan: ControlPlan,
        branches: Sequence[Branch],
        masks: MaskRule | None,
        clock: StepClock | None = None,
    ) -> None:
        missing = [layer.name for layer in plan.layers if layer.name not in source.layers]
        unrecorded = [step for step in plan.steps if step not in source.steps]
        if missing and plan.steps:
            raise UserError(f"the source was recorded without layer {missing[0]}; record it from a lower masa_layer on")
        if unrecorded and plan.layers:
            raise UserError(f"the source was recorded without step {unrecorded[0]} of {len(source.timesteps)}")
        self.source, self.plan, self.masks = source, plan, masks
        self._steps = StepFinder(source.timesteps, clock or StepClock())
        self.branches = list(branches)
        """Order of the rows of the UNet calls to come; whoever shares this list sees its changes."""
        self.record: StepRecord | None = None
        """The source at the step in progress; None where that step is not controlled."""
        self.target_mask: torch.Tensor | None = None
        """(frames, height, width) bool: given masks of the frames in work, instead of masks by words."""
        self.calls: Counter[int] = Counter()
        """Step → UNet calls made at it."""
        self.fired: Counter[tuple[int, str]] = Counter()
        """(step, layer) → attention calls that used the source."""
        self._share: torch.Tensor | None = None
        self._maps: dict[str, torch.Tensor] = {}
        self._target_sides: dict[tuple[tuple[int, int], int], Sides] = {}
        self._source_sides: dict[tuple[tuple[int, int], str | None], Sides] = {}
        self._rows = branch_rows(source.branches, branches)
        self._step: int | None = None
        self._latent_size = (0, 0)

    def use_branches(self, branches: Sequence[Branch]) -> None:
        """The UNet calls to come have rows of these branches, in this order."""
        if list(branches) != self.branches:
            self.branches[:] = branches
            self._rows = branch_rows(self.source.branches, branches)

    def begin(self, call: DenoiserCall) -> None:
        """Start of a call of the denoiser: find its step, and that step's record."""
        if call.rows % len(self.branches):
            raise UserError(f"a UNet call had {call.rows} rows, which do not divide into {', '.join(self.branches)}")
        step = self._steps.step_of(call)
        self.calls[step] += 1
        if not self.plan.layers_at(step):
            self.record = None
        elif step != self._step or self.record is None:
            self.record = self.source.read(step)
            self._source_sides.clear()
        self._step, self._latent_size = step, call.latent_size
        self._maps.clear()
        self._target_sides.clear()

    def attend(self, layer: AttentionLayer, qkv: QKV) -> torch.Tensor:
        """Mutual self-attention of one layer: (rows, tokens, heads x head_dim)."""
        grid = self.fire(layer, qkv)
        assert self.record is not None
        key, value = (
            split_heads(self._of_branches(states), qkv.heads)  # -> (branches, heads, source tokens, head_dim)
            for states in (self.record.keys[layer.name], self.record.values[layer.name])
        )
        # a source recorded in half precision may serve frames that are made again in float32
        key, value = qkv.placed(key.to(qkv.dtype), grid), value.to(qkv.dtype)
        if self.plan.mode == "union":
            queries, own_key, own_value = (
                by_branch(states, len(self._rows)) for states in (qkv.query, qkv.key, qkv.value)
            )  # where the source's branches are shared there is one "branch", and all rows are frames of it
            if layer == self.plan.layers[-1]:
                self._share = source_share(queries, own_key, key)
            out = union_attention(queries, own_key, own_value, key, value)
            return merge_heads(out).flatten(0, 1)
        long = as_one_long_query(qkv.query, len(self._rows))  # -> (branches, heads, frames x tokens, head_dim)
        if self.plan.mode == "masked":
            out = masked_attention(long, key, value, self._target_on(grid), self._source_on(layer, grid))
        else:
            out = source_attention(long, key, value)
        return merge_heads(out).reshape(qkv.rows, qkv.tokens, -1)

    def fire(self, layer: AttentionLayer, qkv: QKV) -> tuple[int, int]:
        """Count a controlled attention call; returns the layer's token grid (height, width)."""
        grid = layer.grid(self._latent_size)
        if grid[0] * grid[1] != qkv.tokens:
            raise RuntimeError(f"{layer.name}: {qkv.tokens} tokens, expected {grid[0]} x {grid[1]}")
        self.fired[self._step_now, layer.name] += 1
        return grid

    @property
    def _step_now(self) -> int:
        assert self._step is not None
        return self._step

    def _of_branches(self, states: torch.Tensor) -> torch.Tensor:
        """The recorded branches that serve this call's; usually all in their order, and then nothing is copied."""
        return states if self._rows == list(range(len(states))) else states[self._rows]

    def source_share(self, frames: int) -> list[float]:
        """How much of the attention of each frame of the last UNet call went to the source, 0 to 1.

        In the mode `source` all of it, at a controlled step; in `union` the mass on the source's keys, and in `masked`
        the part of the queries that asked the source's figure, both of the last controlled layer; with several sources
        the part of the queries that asked any of them.
        """
        if self.record is None:
            return [0.0] * frames
        if self._share is None:
            return [1.0] * frames
        share: list[float] = self._share.reshape(-1, frames).mean(dim=0).tolist()  # branches may come as frames
        return share

    def target_object_map(self) -> torch.Tensor | None:
        """(frames, height, width) in [0, 1]: the target's object map as far as this UNet call has made it."""
        return normalised([self._maps[name] for name in sorted(self._maps)]) if self._maps else None

    def check_fired(self, calls_per_step: int | None = None) -> dict[str, int]:
        """Compare the controlled attention calls with what the plan implies.

        Args:
            calls_per_step: UNet calls that every step must have seen, where the caller knows.

        Returns:
            Figures for the run's report.

        Raises:
            RuntimeError: a layer was not controlled in a call where it had to be, or where it must not.
        """
        if calls_per_step is not None:
            counts = {step: self.calls[step] for step in range(len(self.source.timesteps))}
            wrong = {step: count for step, count in counts.items() if count != calls_per_step}
            if wrong:
                raise RuntimeError(f"UNet calls per denoising step: expected {calls_per_step}, got {wrong}")
        expected = Counter(
            {
                (step, layer.name): self.calls[step]
                for step in self.plan.steps
                for layer in self.plan.layers_at(step)
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
            "steps": len(self.plan.steps),
            "layers": len(self.plan.layers),
            "unet_calls": self.calls.total(),
            "controlled_attention_calls": self.fired.total(),
            "expected_attention_calls": expected.total(),
        }

    @property
    def latent_size(self) -> tuple[int, int]:
        """Height and width of the latents of the call in progress."""
        return self._latent_size

    def map_size(self) -> tuple[int, int] | None:
        """Latent size for the object maps of the call in progress; None at a step that is not controlled."""
        return self._latent_size if self.record is not None else None

    def keep_maps_in(self) -> dict[str, torch.Tensor]:
        """Where the cross-attention layers put the target's object attention of the call in progress."""
        return self._maps

    def _target_on(self, grid: tuple[int, int]) -> Sides:
        """The frames' figure and ground on a layer's grid; layers with the same masks share them within a UNet call."""
        found = (grid, len(self._maps))  # more object maps make another mask
        if found not in self._target_sides:
            mask = self._target_mask_on(grid)
            self._share = mask.float().mean(dim=1)
            repeats = len(self.branches) // len(self._rows)  # both branches, where the source's are shared
            self._target_sides[found] = Sides.of(mask.repeat(repeats, 1).flatten())
        return self._target_sides[found]

    def _source_on(self, layer: AttentionLayer, grid: tuple[int, int]) -> Sides:
        """The source's figure and ground on a layer's grid, found once a step."""
        assert self.record is not None
        found = (grid, layer.name if layer.name in self.record.early_maps else None)
        if found not in self._source_sides:
            self._source_sides[found] = Sides.of(self._source_mask_on(layer, grid))
        return self._source_sides[found]

    def _source_mask_on(self, layer: AttentionLayer, grid: tuple[int, int]) -> torch.Tensor:
        """(source tokens,) bool."""
        assert self.masks is not None
        assert self.record is not None
        if self.masks.source_mask is not None:
            return binary_mask(self.masks.source_mask[None], 0.5, grid)[0]
        source_map = self.record.object_map_at(layer.name)
        if source_map is None:
            raise UserError("masked mode: the source was recorded without an object map, and no source mask is given")
        return binary_mask(source_map[None], self.masks.threshold, grid)[0]

    def _target_mask_on(self, grid: tuple[int, int]) -> torch.Tensor:
        """(frames, tokens) bool."""
        assert self.masks is not None
        if self.target_mask is not None:
            return binary_mask(self.target_mask, 0.5, grid)
        target_map = self.target_object_map()
        if target_map is None:
            raise UserError("masked mode: neither words of the object nor target masks are given")
        return binary_mask(target_map, self.masks.threshold, grid)
