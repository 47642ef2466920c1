"""What the controlled layers of a denoiser share: the step in progress, its records, and the count of what was done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F

from masactrl_video.attention.figures import Figures
from masactrl_video.attention.fired import CallCount
from masactrl_video.attention.limbs import Limbs
from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.modes.base import FrameState, SourceView, joined, own_and_text, own_scores
from masactrl_video.attention.modes.registry import mode_named
from masactrl_video.attention.mutual import source_share
from masactrl_video.attention.neighbour import Neighbour, Neighbours
from masactrl_video.attention.parts import FrameGroup, SourcePart, Weight, check_parts, groups_of
from masactrl_video.attention.plan import ControlPlan
from masactrl_video.attention.recorded import MadeAgain, StepRecord, branch_rows
from masactrl_video.attention.source_keys import NotComputed, SourceKeys
from masactrl_video.errors import UserError, counted
from masactrl_video.model.backbones.base import AttentionLayer
from masactrl_video.model.backbones.branches import Branch
from masactrl_video.model.backbones.qkv import QKV, by_branch, merge_heads
from masactrl_video.model.backbones.steps import BranchFinder, DenoiserCall, StepClock, StepFinder
from masactrl_video.model.backbones.window import Window, cut_rows
from masactrl_video.settings.names import Background, Ground


class AttentionControl:
    """What the controlled layers share during one context, and the count of what they did."""

    def __init__(
        self,
        parts: Sequence[SourcePart],
        plan: ControlPlan,
        branches: Sequence[Branch],
        masks: MaskRule | None = None,
        ground: Ground = "self",
        clock: StepClock | None = None,
        background: Background = "source",
        calls_each_branch: bool = False,
        prompt_first: bool = False,
        neighbour: float = 0.0,
    ) -> None:
        self.mode = mode_named(plan.mode)
        check_parts(parts, plan, self.mode, clocked=clock is not None)
        self.parts, self.plan, self.masks, self.ground = tuple(parts), plan, masks or MaskRule(), ground
        self.background = background
        self.timesteps = parts[0].source.timesteps
        clock = clock or StepClock()
        self._steps = StepFinder(self.timesteps, clock)
        self._rows_of = BranchFinder(
            tuple(branches), clock, each_has_a_call=calls_each_branch, prompt_first=prompt_first
        )
        self._apart = prompt_first
        """Whether the prompts of one call have places of their own, so that a shared source's keys differ there."""
        self.branches = list(branches)
        """Order of the rows of the denoiser's calls; whoever shares this list sees its changes."""
        self.records: dict[int, StepRecord] = {}
        """Number of a source → its record of the step in progress; of those that frames of this step have followed."""
        self.weights: list[Weight] = [part.weight for part in parts]
        """Of each source, for the frames in work."""
        self.limbs = Limbs()
        """Where the plan's positions are `pose`."""
        self.has_neighbour: Sequence[bool] = ()
        """With a neighbour: of each frame in work, whether it comes right behind the one before it, in this batch or
        in the last one of the same step."""
        self.keeps_last = False
        """Whether the last frame in work is the neighbour of the next batch's first one."""
        self._neighbours = Neighbours(neighbour) if neighbour else None
        self.figures = Figures(self.parts, self.mode, self.masks, self.records)
        """Where objects and people are."""
        self.count = CallCount()
        self._groups: list[FrameGroup] = []
        self._shares: dict[int, torch.Tensor] = {}
        self._keys = SourceKeys(self.records, plan.positions, keeps_ground=background == "still")
        self._of_clip: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._is_looking = False
        self._controlled_layers = {layer.name for layer in plan.layers}
        self._ground: NotComputed | None = None
        self._step = self._frames = 0
        self._is_controlled = self._is_paused = False
        self._last: AttentionLayer | None = None
        self._latent_size = (0, 0)
        self._set_rows()

    def use_branches(self, branches: Sequence[Branch]) -> None:
        """The denoiser's calls to come have rows of these branches, in this order."""
        self._rows_of.all = tuple(branches)
        self._use(branches)

    def _use(self, branches: Sequence[str]) -> None:
        if list(branches) != self.branches:
            self.branches[:] = cast(Sequence[Branch], branches)
            self._set_rows()

    def _set_rows(self) -> None:
        rows = [branch_rows(part.source.branches, self.branches) for part in self.parts]
        self._keys.rows = rows
        shared = max(map(len, rows))  # 1 where the branches share the sources: then all rows are frames of one
        self._branches = len(self.branches) if self._apart or "regions" in self.mode.needs else shared

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Inside the context, calls of the denoiser are on the clip's own frames, those of the next call outside of it.

        They are not controlled and not counted; what the frames offer in controlled layers is kept for that next call.
        """
        self._of_clip.clear()
        self._is_looking = True
        try:
            yield
        finally:
            self._is_looking = False

    @contextmanager
    def computing(
        self, chosen: torch.Tensor, ground: int, earlier_maps: Sequence[Mapping[str, torch.Tensor]]
    ) -> Iterator[None]:
        """Inside the context, calls compute some of the tokens of a single frame (see `Backbone.some_tokens`).

        Every layer, controlled or not, sees a source's keys and values in place of those that are not computed.

        Args:
            chosen: (tokens,) bool.
            ground: number of that source.
            earlier_maps: see `Figures.earlier_maps`.
        """
        self._ground = NotComputed(ground, (~chosen).nonzero().squeeze(1), int(chosen.sum()))
        self.figures.computed, self.figures.earlier_maps = chosen, earlier_maps
        try:
            yield
        finally:
            self._ground, self.figures.computed, self.figures.earlier_maps = None, None, ()

    def only(
        self, rows: Sequence[int], weights: Sequence[Weight], mask: torch.Tensor | None, windows: Sequence[Window]
    ) -> None:
        """The next call is on some frames of a batch.

        Args:
            weights, mask: of the sources, and given masks, for all frames of the batch.
            windows: the part of each of these frames that the call is on; none: the whole.
        """
        self.weights = [each[list(rows)] if isinstance(each, torch.Tensor) else each for each in weights]
        self.figures.windows = windows
        if mask is not None and windows:
            mask = cut_rows(mask, dict(zip(rows, windows, strict=True)))
        elif mask is not None:
            mask = mask[list(rows)]
        self.figures.target_mask = mask

    def prepare(self, step: int, frames: Sequence[Sequence[Weight]]) -> None:
        """Before the calls of a step: have the sources made that are kept nowhere.

        Args:
            frames: weights of the sources for each batch of frames to come.
        """
        if not self.plan.layers_at(step):
            return
        for number, part in enumerate(self.parts):
            if isinstance(part.source, MadeAgain) and any(_counts(weights[number]) for weights in frames):
                self._is_paused = True
                try:
                    part.source.prepare(step)
                finally:
                    self._is_paused = False

    def begin(self, call: DenoiserCall) -> None:
        """Start of a call of the denoiser: find its step, and the records of that step."""
        if self._is_looking or self._is_paused:
            return
        self._use(self._rows_of.of(call))
        if call.rows % len(self.branches):
            raise UserError(
                f"a call of the denoiser had {call.rows} rows, which do not divide into {', '.join(self.branches)}"
            )
        step = self._steps.step_of(call)
        self.count.calls[step] += 1
        has_prompt = self.branches != ["unconditional"]  # else the call before it had the prompt, and made the maps
        self.count.batches[step] += has_prompt
        layers = self.plan.layers_at(step)
        if new_step := not layers or step != self._step:
            self._keys.clear()
        self._is_controlled = bool(layers)
        self._step, self._latent_size = step, call.latent_size
        self._shares.clear()
        self._last = layers[-1] if layers else None
        self._frames = call.rows // len(self.branches)
        self.figures.begin(
            self._latent_size, self._frames, is_controlled=bool(layers), new_step=new_step, makes_maps=has_prompt
        )
        moving = self.limbs.moving(len(self.parts), self._frames) if self.plan.positions == "pose" else None
        self._groups = groups_of(self.weights, self._frames, moving, self._neighbouring())
        for number in sorted({number for group in self._groups for number in group.weights}) if layers else ():
            if number not in self.records:
                self._keys.add(number, self.parts[number].source.read(step))

    def attend(self, layer: AttentionLayer, qkv: QKV) -> torch.Tensor | None:
        """A `PictureAttention`: mutual self-attention at a controlled step, and elsewhere as the network has it."""
        if self._is_looking:
            self._of_clip[layer.name] = (qkv.unplaced_key, qkv.value)
            return None
        if not self._is_controlled or self._is_paused:
            return None
        grid, ground = layer.grid(self._latent_size), self._ground
        if (grid[0] * grid[1] if ground is None else ground.others) != qkv.tokens:
            raise RuntimeError(f"{layer.name}: {qkv.tokens} tokens, expected {grid[0]} x {grid[1]}")
        if ground is not None:
            return self._attend_before_ground(layer, grid, qkv, ground)
        return self._attend(layer, grid, qkv) if layer.name in self._controlled_layers else None

    def _attend_before_ground(
        self, layer: AttentionLayer, grid: tuple[int, int], qkv: QKV, ground: NotComputed
    ) -> torch.Tensor:
        """With the source's keys and values behind the frame's own: those of the tokens that are not computed."""
        ground_key, ground_value = self._keys.of_ground(ground, layer.name, grid, qkv)
        is_controlled = layer.name in self._controlled_layers
        out = self._attend(layer, grid, qkv.beside(ground_key, ground_value)) if is_controlled else None
        if out is not None and (qkv.text is None or out.shape[1] > qkv.tokens):
            return out
        text = () if qkv.text is None else (qkv.text,)
        key = torch.cat([*(own.key for own in (*text, qkv)), ground_key], dim=2)
        value = torch.cat([*(own.value for own in (*text, qkv)), ground_value], dim=2)
        if out is None:
            return merge_heads(F.scaled_dot_product_attention(qkv.query_after_text, key, value))
        assert qkv.text is not None
        return torch.cat([merge_heads(F.scaled_dot_product_attention(qkv.text.query, key, value)), out], dim=1)

    def _attend(self, layer: AttentionLayer, grid: tuple[int, int], qkv: QKV) -> torch.Tensor:
        """Mutual self-attention of all frames in work."""
        self.count.fired[self._step, layer.name] += 1
        beside = self._beside(layer, qkv)
        parts: list[tuple[list[int], torch.Tensor]] = []
        for number, group in enumerate(self._groups):
            rows = group.rows(len(self.branches), self._frames)
            some = qkv if rows is None else qkv.of_rows(rows)
            frame = self._frame(
                layer, grid, number, some, beside if rows is None or not beside else beside.of_rows(rows)
            )
            views = list(self._views(layer, frame, group, some))
            if views:
                out = self.mode.attend(some, views, frame)
            else:  # no source has a weight: the frames' own attention
                scores = own_scores(some, own=True, asks_text=True)
                added = None if scores is None else scores[:, None]
                beside_text = own_and_text(some, own=True)
                out = merge_heads(F.scaled_dot_product_attention(some.query_after_text, *beside_text, added))
                frame.tell_share(torch.zeros(1, device=out.device))
            is_shared = "own" in self.mode.needs or some.text is not None or frame.neighbour is not None
            if frame.is_last and number not in self._shares and is_shared:
                frame.tell_share(self._estimated_share(some, views, frame.neighbour))
            if rows is None:
                return out
            parts.append((rows, out))
        tokens = min(out.shape[1] for _, out in parts)  # not every mode has an answer for the prompt's tokens
        whole = parts[0][1].new_empty(qkv.rows, tokens, parts[0][1].shape[2])
        for rows, out in parts:
            whole[rows] = out[:, -tokens:]
        return whole

    def _neighbouring(self) -> Sequence[bool] | None:
        """Of each frame in work, whether it attends to the one before; None: no neighbour is asked for."""
        if self._neighbours is None:
            return None
        if len(self.has_neighbour) != self._frames:
            raise UserError(
                f"neighbour: for {counted(self._frames, 'frame')}, {len(self.has_neighbour)} were said to have one or "
                "not; set AttentionControl.has_neighbour for each batch"
            )
        return self.has_neighbour

    def _beside(self, layer: AttentionLayer, qkv: QKV) -> Neighbour | None:
        """What the frames in work see of those before them; once a call, for what the last one has is kept."""
        if self._neighbours is None or not (any(self.has_neighbour) or self.keeps_last):
            return None
        return self._neighbours.beside(
            layer.name, self.branches, qkv, is_after_another=self.has_neighbour[0], keep=self.keeps_last
        )

    def _frame(
        self, layer: AttentionLayer, grid: tuple[int, int], group: int, qkv: QKV, beside: Neighbour | None
    ) -> FrameState:
        return FrameState(
            layer,
            grid,
            self._step,
            len(self.timesteps),
            self._branches,
            self.ground,
            layer == self._last,
            partial(self.figures.target_on, grid, self._groups[group], len(self.branches) // self._branches),
            partial(self._tell_share, group),
            self.background,
            partial(self._clip_states, layer, grid, self._groups[group], qkv),
            beside if self._groups[group].has_neighbour else None,
        )

    def _tell_share(self, group: int, share: torch.Tensor) -> None:
        """Of the tokens that are computed → of all."""
        computed = self.figures.computed
        self._shares[group] = share if computed is None else share * computed.float().mean()

    def _clip_states(
        self, layer: AttentionLayer, grid: tuple[int, int], group: FrameGroup, qkv: QKV
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Key and value of the clip's frames (rows, heads, tokens, head_dim), the same for all branches."""
        some = slice(None) if group.frames is None else list(group.frames)
        branches = len(self.branches)
        key, value = (states[some].repeat(branches, 1, 1, 1) for states in self._of_clip[layer.name])
        return qkv.placed(key, grid), value

    def _views(self, layer: AttentionLayer, frame: FrameState, group: FrameGroup, qkv: QKV) -> Iterator[SourceView]:
        """The sources of some frames."""
        regions = self.figures.regions(frame.grid, group) if "regions" in self.mode.needs else {}
        for number, weight in group.weights.items():
            own_grid = layer.grid(self.parts[number].latent_size or self.figures.whole_size)
            limbs = partial(self.limbs.places, number, group.skeleton, own_grid) if group.skeleton is not None else None
            key, value = self._keys.of(number, layer.name, own_grid, frame.grid[1], qkv, limbs)
            key, value = (states.expand(self._branches, -1, -1, -1) for states in (key, value))
            record, figure = self.records[number], partial(self.figures.source_on, number, layer)
            yield SourceView(record, weight, regions.get(number), key, value, figure)

    def _estimated_share(self, qkv: QKV, views: Sequence[SourceView], neighbour: Neighbour | None) -> torch.Tensor:
        beside, _ = own_and_text(qkv, own="own" in self.mode.needs, neighbour=neighbour)
        query, own_key = (by_branch(states, self._branches) for states in (qkv.query, beside))
        key, _, log_weights = joined(views, beside_own=True)
        scores = own_scores(qkv, own="own" in self.mode.needs, asks_text=False, neighbour=neighbour)
        own = None if scores is None else by_branch(scores, self._branches)
        return source_share(query, own_key, key, log_weights, own)

    def source_share(self, frames: int) -> list[float]:
        """How much of the attention of each frame of the last call went to the sources, 0 to 1.

        In the mode `source` all of it, at a controlled step; in `union` the mass on the sources' keys, and in `masked`
        the part of the queries that asked the source's figure, both of the last controlled layer; in `regions` the part
        of the queries that asked any source.
        """
        shares = [float(self._is_controlled)] * frames
        for number, share in self._shares.items():
            members = self._groups[number].frames or range(frames)
            found = share.expand(len(members)) if len(share) == 1 else share.reshape(-1, len(members)).mean(dim=0)
            for frame, one in zip(members, found.tolist(), strict=True):  # branches may have come as frames
                shares[frame] = one
        return shares

    def check_fired(self, calls_per_step: int | None = None) -> dict[str, int]:
        """See `CallCount.check`; with regions also the tokens that queried each source."""
        figures = self.count.check(self.plan, len(self.timesteps), calls_per_step)
        regional = range(len(self.parts)) if "regions" in self.mode.needs else ()
        return figures | {f"tokens_of_source_{number}": self.figures.owned[number] for number in regional}

    @property
    def latent_size(self) -> tuple[int, int]:
        """Height and width of the latents of the call in progress."""
        return self._latent_size

    def map_size(self) -> tuple[int, int] | None:
        """Latent size for the object maps of the call in progress; None where it makes none.

        That is so at a step that is not controlled, in the call of a negative prompt alone, and in calls on the clip or
        on a source.
        """
        is_for_frames = self._is_controlled and not (self._is_looking or self._is_paused)
        return self._latent_size if is_for_frames and self.branches != ["unconditional"] else None

    def source_figures(self) -> tuple[list[int], torch.Tensor]:
        """The source that each frame of the last call follows most, and where the objects of its sources are.

        Returns:
            Its number for each frame, and (frames, height, width) bool on the latent grid.
        """
        size, found = self.figures.whole_size, dict[int, tuple[int, torch.Tensor]]()
        for group in self._groups:
            masks = [self.figures.source_mask_on(number, size) for number in group.weights]
            most = max((weight, number) for number, weight in group.weights.items())[1]
            own = most, torch.stack(masks).any(dim=0).reshape(size)
            found |= dict.fromkeys(range(self._frames) if group.frames is None else group.frames, own)
        followed = [found[frame] for frame in range(self._frames)]
        return [number for number, _ in followed], torch.stack([figure for _, figure in followed])


def _counts(weight: Weight) -> bool:
    """Whether any frame follows a source of this weight."""
    return bool(weight.any()) if isinstance(weight, torch.Tensor) else weight > 0
