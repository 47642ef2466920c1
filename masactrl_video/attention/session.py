"""What the controlled layers of a denoiser share: the step in progress, its records, and the count of what was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F

from masactrl_video.attention.masks import MaskRule, binary_mask, joined_maps, normalised, owners, rim_around
from masactrl_video.attention.modes.base import FrameState, SourceView, joined, own_and_text, own_scores
from masactrl_video.attention.modes.registry import mode_named
from masactrl_video.attention.mutual import Sides, source_share
from masactrl_video.attention.neighbour import Neighbour, Neighbours
from masactrl_video.attention.parts import FrameGroup, SourcePart, Weight, check_parts, groups_of
from masactrl_video.attention.plan import ControlPlan
from masactrl_video.attention.recorded import MadeAgain, StepRecord, branch_rows
from masactrl_video.errors import UserError, counted
from masactrl_video.model.backbones.base import AttentionLayer
from masactrl_video.model.backbones.branches import Branch
from masactrl_video.model.backbones.qkv import QKV, by_branch, merge_heads, split_heads
from masactrl_video.model.backbones.steps import BranchFinder, DenoiserCall, StepClock, StepFinder
from masactrl_video.poses.warp import Skeleton, moved_places, moves
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
        neighbour: float = 0.0,
    ) -> None:
        self.mode = mode_named(plan.mode)
        check_parts(parts, plan, self.mode, clocked=clock is not None)
        self.parts, self.plan, self.masks, self.ground = tuple(parts), plan, masks or MaskRule(), ground
        self.background = background
        self.timesteps = parts[0].source.timesteps
        clock = clock or StepClock()
        self._steps = StepFinder(self.timesteps, clock)
        self._rows_of = BranchFinder(tuple(branches), clock, each_has_a_call=calls_each_branch)
        self.branches = list(branches)
        """Order of the rows of the denoiser's calls; whoever shares this list sees its changes."""
        self.records: dict[int, StepRecord] = {}
        """Number of a source → its record of the step in progress; of those that frames of this step have followed."""
        self.weights: list[Weight] = [part.weight for part in parts]
        """Of each source, for the frames in work."""
        self.source_skeletons: Sequence[Skeleton] = ()
        """Of each source, where the plan's positions are `pose`."""
        self.frame_skeletons: Sequence[Skeleton] = ()
        """The same of the frames in work."""
        self.has_neighbour: Sequence[bool] = ()
        """With a neighbour: of each frame in work, whether it comes right behind the one before it, in this batch or
        in the last one of the same step."""
        self.keeps_last = False
        """Whether the last frame in work is the neighbour of the next batch's first one."""
        self._neighbours = Neighbours(neighbour) if neighbour else None
        self.target_mask: torch.Tensor | None = None
        """(frames, height, width) bool: given masks of the frames in work, instead of masks by words."""
        self.whose: torch.Tensor | None = None
        """(frames, height, width) uint8: 0 or the place, from 1, of the source whose region a point is, for sources
        of people in the frames in work."""
        self.object_maps: dict[str, torch.Tensor] = {}
        """Layer → the target's attention to the object's words (frames, height, width), of this call."""
        self.attribute_maps: list[dict[str, torch.Tensor]] = [{} for _ in self.masks.attributes]
        """The same for the words of each thing that the object wears."""
        self.region_maps: list[dict[str, torch.Tensor]] = [{} for _ in parts]
        """The same for the words of each source that has a region."""
        self.calls: Counter[int] = Counter()
        """Step → calls of the denoiser made at it."""
        self._batches: Counter[int] = Counter()
        """The same, without calls of a negative prompt alone."""
        self.fired: Counter[tuple[int, str]] = Counter()
        """(step, layer) → attention calls that used the sources."""
        self.owned: Counter[int] = Counter()
        """Number of a source → tokens of its region, over all controlled attention calls; 0: it was never found."""
        self._groups: list[FrameGroup] = []
        self._shares: dict[int, torch.Tensor] = {}
        self._target_sides: dict[tuple[tuple[int, int], int, tuple[int, ...] | None], Sides] = {}
        self._source_sides: dict[tuple[int, tuple[int, int], str | None], Sides | None] = {}
        self._moved: dict[tuple[int, Skeleton, tuple[int, int]], torch.Tensor] = {}
        self._of_clip: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._is_looking = False
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
        self._rows = [branch_rows(part.source.branches, self.branches) for part in self.parts]
        shared = max(map(len, self._rows))  # 1 where the branches share the sources: then all rows are frames of one
        self._branches = len(self.branches) if "regions" in self.mode.needs else shared

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
        self.calls[step] += 1
        has_prompt = self.branches != ["unconditional"]  # else the call before it had the prompt, and made the maps
        self._batches[step] += has_prompt
        layers = self.plan.layers_at(step)
        if not layers or step != self._step:
            self.records.clear()
            self._source_sides.clear()
        self._is_controlled = bool(layers)
        self._step, self._latent_size = step, call.latent_size
        for maps in (self.object_maps, *self.attribute_maps, *self.region_maps) if has_prompt else ():
            maps.clear()
        self._target_sides.clear()
        self._shares.clear()
        self._last = layers[-1] if layers else None
        self._frames = call.rows // len(self.branches)
        self._groups = groups_of(self.weights, self._frames, self._moving(), self._neighbouring())
        for number in sorted({number for group in self._groups for number in group.weights}) if layers else ():
            if number not in self.records:
                self.records[number] = self.parts[number].source.read(step)

    def attend(self, layer: AttentionLayer, qkv: QKV) -> torch.Tensor | None:
        """A `PictureAttention`: mutual self-attention at a controlled step, and elsewhere as the network has it."""
        if self._is_looking:
            self._of_clip[layer.name] = (qkv.unplaced_key, qkv.value)
            return None
        if not self._is_controlled or self._is_paused:
            return None
        grid = layer.grid(self._latent_size)
        if grid[0] * grid[1] != qkv.tokens:
            raise RuntimeError(f"{layer.name}: {qkv.tokens} tokens, expected {grid[0]} x {grid[1]}")
        self.fired[self._step, layer.name] += 1
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
                queries = some.query if some.text is None else torch.cat([some.text.query, some.query], dim=2)
                scores = own_scores(some, own=True, asks_text=True)
                added = None if scores is None else scores[:, None]
                out = merge_heads(F.scaled_dot_product_attention(queries, *own_and_text(some, own=True), added))
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
            partial(self._target_on, grid, self._groups[group]),
            partial(self._shares.__setitem__, group),
            self.background,
            partial(self._clip_states, layer, grid, self._groups[group], qkv),
            beside if self._groups[group].has_neighbour else None,
        )

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
        regions = self._regions(frame.grid, group) if "regions" in self.mode.needs else {}
        for number, weight in group.weights.items():
            record, rows = self.records[number], self._rows[number]
            key, value = (
                # usually all branches in their order, and then nothing is copied; a source recorded in half precision
                # may serve frames that are made again in float32
                split_heads(states if rows == list(range(len(states))) else states[rows], qkv.heads).to(qkv.dtype)
                for states in (record.keys[layer.name], record.values[layer.name])
            )  # -> (branches, heads, source tokens, head_dim)
            own_grid = layer.grid(self.parts[number].latent_size or self._latent_size)
            if group.skeleton is not None:
                key = qkv.placed_at(key, self._places(number, group.skeleton, own_grid, key.device))
            elif self.plan.positions != "free":
                first_column = frame.grid[1] if self.plan.positions == "shifted" else 0
                key = qkv.placed(key, own_grid, (0, first_column))
            key, value = (states.expand(self._branches, -1, -1, -1) for states in (key, value))
            yield SourceView(record, weight, regions.get(number), key, value, partial(self._source_on, number, layer))

    def _moving(self) -> list[Skeleton | None] | None:
        """The skeleton of each frame in work that moves the keys of a source; None where none is to."""
        if self.plan.positions != "pose":
            return None
        if len(self.source_skeletons) != len(self.parts) or len(self.frame_skeletons) != self._frames:
            raise UserError(
                f"source_positions pose: got {len(self.source_skeletons)} skeletons for "
                f"{counted(len(self.parts), 'source')} and {len(self.frame_skeletons)} for "
                f"{counted(self._frames, 'frame')}; each needs one"
            )
        return [
            frame if any(moves(source, frame) for source in self.source_skeletons) else None
            for frame in self.frame_skeletons
        ]

    def _places(self, number: int, skeleton: Skeleton, grid: tuple[int, int], device: torch.device) -> torch.Tensor:
        """(tokens, 2): where the tokens of a source are in frames of this pose; found once, then the same object."""
        found = (number, skeleton, grid)
        if found not in self._moved:
            places = moved_places(self.source_skeletons[number], skeleton, grid)
            self._moved[found] = torch.from_numpy(places).float().to(device)
        return self._moved[found]

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
        """Compare the controlled attention calls with what the plan implies.

        Args:
            calls_per_step: batches that every step must have seen, where the caller knows.

        Returns:
            Figures for the run's report; with regions also the tokens that queried each source.

        Raises:
            RuntimeError: a layer was not controlled in a call where it had to be, or where it must not.
        """
        if calls_per_step is not None:
            counts = {step: self._batches[step] for step in range(len(self.timesteps))}
            wrong = {step: count for step, count in counts.items() if count != calls_per_step}
            if wrong:
                raise RuntimeError(f"calls of the denoiser per denoising step: expected {calls_per_step}, got {wrong}")
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
        figures = {
            "steps": len(self.plan.steps),
            "layers": len(self.plan.layers),
            "unet_calls": self.calls.total(),
            "controlled_attention_calls": self.fired.total(),
            "expected_attention_calls": expected.total(),
        }
        regional = range(len(self.parts)) if "regions" in self.mode.needs else ()
        return figures | {f"tokens_of_source_{number}": self.owned[number] for number in regional}

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

    def source_figure(self) -> tuple[int, torch.Tensor]:
        """The source that all frames of the last call follow most, and where the objects of their sources are.

        Returns:
            Its number, and (1, height, width) bool on the latent grid.
        """
        weights = {number: weight for group in self._groups for number, weight in group.weights.items()}
        masks = [self._source_mask_on(number, self._latent_size) for number in weights]
        figure = torch.stack(masks).any(dim=0).reshape(1, *self._latent_size)
        return max(weights, key=lambda number: (weights[number], number)), figure

    def _source_mask_on(self, number: int, grid: tuple[int, int]) -> torch.Tensor:
        """(tokens,) bool."""
        part, object_map = self.parts[number], self.records[number].object_map
        if part.mask is not None:
            return binary_mask(part.mask[None], 0.5, grid)[0]
        if object_map is None:
            raise UserError(
                f"{self.mode.name} mode: the source was recorded without an object map, and no source mask is given"
            )
        return binary_mask(object_map[None], self.masks.threshold, grid)[0]

    def target_object_map(self) -> torch.Tensor | None:
        """(frames, height, width) in [0, 1]: the target's object map as far as this call has made it."""
        groups = (self.object_maps, *self.attribute_maps)
        return joined_maps([[maps[name] for name in sorted(maps)] for maps in groups])

    def target_figure(self) -> torch.Tensor | None:
        """(frames, height, width) bool on the latent grid: where the object is in the frames of the last call.

        None at a step that is not controlled, and in modes that have no masks, or several.
        """
        is_known = self.target_mask is not None or bool(self.object_maps)
        if not self._is_controlled or "masks" not in self.mode.needs or "regions" in self.mode.needs or not is_known:
            return None
        return self._target_mask_on(self._latent_size).reshape(self._frames, *self._latent_size)

    def _target_on(self, grid: tuple[int, int], group: FrameGroup) -> Sides:
        """The frames' figure and ground on a layer's grid; layers with the same masks share them within a call."""
        found = (grid, len(self.object_maps), group.frames)  # more object maps make another mask
        if found not in self._target_sides:
            mask, rim = self._target_mask_on(grid), None
            if self.masks.rim:
                object_map = self.target_object_map() if self.target_mask is None else None
                rim = self._rim(mask, grid, object_map, self._latent_size[0])
            repeats = len(self.branches) // self._branches  # both branches, where the source's are shared
            some = slice(None) if group.frames is None else list(group.frames)
            mask = mask[some].repeat(repeats, 1).flatten()
            rim = None if rim is None else rim[some].repeat(repeats, 1).flatten()
            self._target_sides[found] = Sides(mask, rim)
        return self._target_sides[found]

    def _target_mask_on(self, grid: tuple[int, int]) -> torch.Tensor:
        """(frames, tokens) bool."""
        if self.target_mask is not None:
            return binary_mask(self.target_mask, 0.5, grid)
        target_map = self.target_object_map()
        if target_map is None:
            raise UserError(f"{self.mode.name} mode: neither words of the object nor target masks are given")
        return binary_mask(target_map, self.masks.threshold, grid)

    def _source_on(self, number: int, layer: AttentionLayer) -> Sides | None:
        """A source's figure and ground on its own grid, found once a step."""
        part, record = self.parts[number], self.records[number]
        grid = layer.grid(part.latent_size or self._latent_size)
        found = (number, grid, layer.name if layer.name in record.early_maps else None)
        if found not in self._source_sides:
            object_map, latent_height = record.object_map_at(layer.name), (part.latent_size or self._latent_size)[0]
            if part.mask is not None:
                mask, object_map = binary_mask(part.mask[None], 0.5, grid), None
            elif object_map is not None:
                object_map = object_map[None]
                mask = binary_mask(object_map, self.masks.threshold, grid)
            else:
                self._source_sides[found] = None
                return None
            rim = self._rim(mask, grid, object_map, latent_height)[0] if self.masks.rim else None
            self._source_sides[found] = Sides(mask[0], rim)
        return self._source_sides[found]

    def _rim(
        self, mask: torch.Tensor, grid: tuple[int, int], object_map: torch.Tensor | None, latent_height: int
    ) -> torch.Tensor:
        """(rows, tokens) bool; without a map the mask was given."""
        return rim_around(mask, grid, self.masks.rim_widths(object_map, len(mask), latent_height, grid[0]))

    def _regions(self, grid: tuple[int, int], group: FrameGroup) -> dict[int, torch.Tensor]:
        """Number of a source → its region of some frames (frames, tokens) bool; no token belongs to two of them."""
        if not group.weights:
            return {}
        scores = torch.stack([self._score(number, grid) for number in group.weights])
        owner = owners(scores if group.frames is None else scores[:, list(group.frames)], self.masks.threshold)
        regions = torch.stack([owner == place for place in range(len(group.weights))])
        self.owned.update(dict(zip(group.weights, regions.flatten(1).sum(dim=1).tolist(), strict=True)))
        return dict(zip(group.weights, regions, strict=True))

    def person_on(self, number: int, grid: tuple[int, int]) -> torch.Tensor:
        """(frames, tokens) bool: where the person is who follows a source."""
        if self.whose is None:
            raise RuntimeError(f"the person of source {number} is nowhere said to be; set AttentionControl.whose")
        return binary_mask(self.whose == number + 1, 0.5, grid)

    def _score(self, number: int, grid: tuple[int, int]) -> torch.Tensor:
        """(frames, tokens) in [0, 1]: how much of a source's object is there."""
        part, soft = self.parts[number], _map_so_far(self.region_maps[number])
        if part.person:
            return self.person_on(number, grid).float()
        allowed = binary_mask(part.region[None], 0.5, grid).float() if part.region is not None else None
        if not part.target_tokens:
            assert allowed is not None
            return allowed.expand(self._frames, -1)
        if soft is None:
            raise RuntimeError(f"the words of source {number} have no map yet; control a layer after the map layers")
        resized = F.interpolate(soft[:, None], size=grid, mode="nearest").flatten(1)
        return resized if allowed is None else resized * allowed


def _counts(weight: Weight) -> bool:
    """Whether any frame follows a source of this weight."""
    return bool(weight.any()) if isinstance(weight, torch.Tensor) else weight > 0


def _map_so_far(maps: dict[str, torch.Tensor]) -> torch.Tensor | None:
    return normalised([maps[name] for name in sorted(maps)]) if maps else None
