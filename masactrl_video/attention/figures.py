"""Where figures are: in the sources, in the frames in work, and which part of a frame belongs to whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F

from masactrl_video.attention.masks import MaskRule, binary_mask, joined_maps, normalised, owners
from masactrl_video.attention.modes.base import AttentionMode
from masactrl_video.attention.mutual import Sides
from masactrl_video.attention.parts import FrameGroup, SourcePart
from masactrl_video.attention.recorded import StepRecord
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.base import AttentionLayer
from masactrl_video.model.backbones.window import Window


class Figures:
    """What is known of figures in the call in progress: given masks, and maps of words as far as they are made."""

    def __init__(
        self, parts: Sequence[SourcePart], mode: AttentionMode, masks: MaskRule, records: Mapping[int, StepRecord]
    ) -> None:
        """Know nothing yet.

        Args:
            records: number of a source → its record of the step in progress; it changes as steps go on.
        """
        self._parts, self._mode, self._masks, self._records = parts, mode, masks, records
        self.target_mask: torch.Tensor | None = None
        """(frames, height, width) bool: given masks of the frames in work, instead of masks by words."""
        self.whose: torch.Tensor | None = None
        """(frames, height, width) uint8: 0 or the place, from 1, of the source whose region a point is, for sources
        of people in the frames in work."""
        self.windows: Sequence[Window] = ()
        """Of the calls to come: the part of each picture that they are on; none: the whole."""
        self.object_maps: dict[str, torch.Tensor] = {}
        """Layer → the target's attention to the object's words (frames, height, width), of this call."""
        self.attribute_maps: list[dict[str, torch.Tensor]] = [{} for _ in masks.attributes]
        """The same for the words of each thing that the object wears."""
        self.region_maps: list[dict[str, torch.Tensor]] = [{} for _ in parts]
        """The same for the words of each source that has a region."""
        self.computed: torch.Tensor | None = None
        """(tokens,) bool: those that the calls in progress compute; None: all."""
        self.earlier_maps: Sequence[Mapping[str, torch.Tensor]] = ()
        """With `computed`: for each of `maps`, what an earlier call found; it holds for the other tokens."""
        self.owned: Counter[int] = Counter()
        """Number of a source → tokens of its region, over all controlled attention calls; 0: it was never found."""
        self._target_sides: dict[tuple[tuple[int, int], int, tuple[int, ...] | None], Sides] = {}
        self._source_sides: dict[tuple[int, tuple[int, int], str | None], Sides | None] = {}
        self._latent_size, self._frames, self._is_controlled = (0, 0), 0, False

    def begin(
        self, latent_size: tuple[int, int], frames: int, *, is_controlled: bool, new_step: bool, makes_maps: bool
    ) -> None:
        """A call begins.

        Args:
            new_step: whether the sources' records are others than before.
            makes_maps: whether it makes maps of words; else those of the call before it hold.
        """
        self._latent_size, self._frames, self._is_controlled = latent_size, frames, is_controlled
        if new_step:
            self._source_sides.clear()
        for maps in (self.object_maps, *self.attribute_maps, *self.region_maps) if makes_maps else ():
            maps.clear()
        self._target_sides.clear()

    @property
    def maps(self) -> tuple[dict[str, torch.Tensor], ...]:
        """Those of the object's words, and of each attribute's."""
        return (self.object_maps, *self.attribute_maps)

    def whole_map(self, group: int, layer: str, found: torch.Tensor) -> torch.Tensor:
        """(frames, computed tokens), a map of a layer → (frames, tokens)."""
        if self.computed is None:
            return found
        whole = self.earlier_maps[group][layer].flatten(1).clone()
        whole[:, self.computed] = found
        return whole

    def target_object_map(self) -> torch.Tensor | None:
        """(frames, height, width) in [0, 1]: the target's object map as far as this call has made it."""
        return joined_maps([[maps[name] for name in sorted(maps)] for maps in self.maps])

    def target_figure(self) -> torch.Tensor | None:
        """(frames, height, width) bool on the whole picture's latent grid: where the object is in the frames of the
        last call.

        None at a step that is not controlled, and in modes that have no masks, or several.
        """
        is_known = self.target_mask is not None or bool(self.object_maps)
        if not self._is_controlled or "masks" not in self._mode.needs or "regions" in self._mode.needs or not is_known:
            return None
        shown, is_given = self._target_shown()
        threshold = 0.5 if is_given else self._masks.threshold
        found = binary_mask(shown, threshold, self._latent_size, self._masks.cells)
        figure = found.reshape(self._frames, *self._latent_size)
        return self._whole(figure)

    def shown_map(self) -> torch.Tensor | None:
        """`target_object_map` on the grid of the whole picture; 0 outside of a window."""
        found = self.target_object_map()
        return None if found is None else self._whole(found)

    def in_windows(self, inside: torch.Tensor) -> torch.Tensor:
        """(frames, height, width) bool of whole pictures, without what lies outside of the windows."""
        if not self.windows:
            return inside
        return self._whole(torch.stack([window.cut(row) for window, row in zip(self.windows, inside, strict=True)]))

    def _whole(self, parts: torch.Tensor) -> torch.Tensor:
        """(frames, height, width) of what calls are on → of whole pictures; 0 outside of windows."""
        if not self.windows:
            return parts
        nothing = parts.new_zeros(())
        return torch.stack([window.placed(part, nothing) for window, part in zip(self.windows, parts, strict=True)])

    @property
    def whole_size(self) -> tuple[int, int]:
        """Height and width of the whole picture's latents; a source's are the same unless it says otherwise."""
        return self.windows[0].whole if self.windows else self._latent_size

    def target_on(self, grid: tuple[int, int], group: FrameGroup, repeats: int) -> Sides:
        """The frames' figure and ground on a layer's grid; layers with the same masks share them within a call.

        Args:
            repeats: how many rows each frame has where the source's branches are shared.
        """
        found = (grid, len(self.object_maps), group.frames)  # more object maps make another mask
        if found not in self._target_sides:
            shown, is_given = self._target_shown()
            mask, rim = self._masks.cut(shown, grid, self._latent_size, is_given=is_given)
            some = slice(None) if group.frames is None else list(group.frames)
            if self.computed is not None:
                mask, rim = mask[:, self.computed], None if rim is None else rim[:, self.computed]
            mask = mask[some].repeat(repeats, 1).flatten()
            rim = None if rim is None else rim[some].repeat(repeats, 1).flatten()
            self._target_sides[found] = Sides(mask, rim)
        return self._target_sides[found]

    def _target_shown(self) -> tuple[torch.Tensor, bool]:
        """(frames, height, width): where the object is, and whether that is given."""
        if self.target_mask is not None:
            return self.target_mask, True
        target_map = self.target_object_map()
        if target_map is None:
            raise UserError(f"{self._mode.name} mode: neither words of the object nor target masks are given")
        return target_map, False

    def source_mask_on(self, number: int, grid: tuple[int, int]) -> torch.Tensor:
        """(tokens,) bool."""
        part, object_map = self._parts[number], self._records[number].object_map
        if part.mask is not None:
            return binary_mask(part.mask[None], 0.5, grid, self._masks.cells)[0]
        if object_map is None:
            raise UserError(
                f"{self._mode.name} mode: the source was recorded without an object map, and no source mask is given"
            )
        return binary_mask(object_map[None], self._masks.threshold, grid, self._masks.cells)[0]

    def source_on(self, number: int, layer: AttentionLayer) -> Sides | None:
        """A source's figure and ground on its own grid, found once a step."""
        part, record = self._parts[number], self._records[number]
        size = part.latent_size or self.whole_size
        grid = layer.grid(size)
        found = (number, grid, layer.name if layer.name in record.early_maps else None)
        if found not in self._source_sides:
            shown = part.mask if part.mask is not None else record.object_map_at(layer.name)
            if shown is None:
                self._source_sides[found] = None
                return None
            mask, rim = self._masks.cut(shown[None], grid, size, is_given=part.mask is not None)
            self._source_sides[found] = Sides(mask[0], None if rim is None else rim[0])
        return self._source_sides[found]

    def regions(self, grid: tuple[int, int], group: FrameGroup) -> dict[int, torch.Tensor]:
        """Number of a source → its region of some frames (frames, tokens) bool; no token belongs to two of them."""
        if not group.weights:
            return {}
        scores = torch.stack([self._score(number, grid) for number in group.weights])
        owner = owners(scores if group.frames is None else scores[:, list(group.frames)], self._masks.threshold)
        regions = torch.stack([owner == place for place in range(len(group.weights))])
        self.owned.update(dict(zip(group.weights, regions.flatten(1).sum(dim=1).tolist(), strict=True)))
        return dict(zip(group.weights, regions, strict=True))

    def person_on(self, number: int, grid: tuple[int, int]) -> torch.Tensor:
        """(frames, tokens) bool: where the person is who follows a source."""
        if self.whose is None:
            raise RuntimeError(
                f"the person of source {number} is nowhere said to be; set AttentionControl.figures.whose"
            )
        return binary_mask(self.whose == number + 1, 0.5, grid)

    def _score(self, number: int, grid: tuple[int, int]) -> torch.Tensor:
        """(frames, tokens) in [0, 1]: how much of a source's object is there."""
        part, soft = self._parts[number], _map_so_far(self.region_maps[number])
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


def _map_so_far(maps: dict[str, torch.Tensor]) -> torch.Tensor | None:
    return normalised([maps[name] for name in sorted(maps)]) if maps else None
