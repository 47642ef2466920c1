"""Keys and values of sources at the step in progress, as frames attend to them: with their places put in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch

from masactrl_video.attention.recorded import StepRecord
from masactrl_video.model.backbones.qkv import QKV, merge_heads, split_heads
from masactrl_video.settings.names import SourcePositions


@dataclass(frozen=True, eq=False)
class NotComputed:
    """The part of a frame that is not computed, and is a source's."""

    source: int
    """Its number."""
    tokens: torch.Tensor
    """(ground tokens,) positions in the picture."""
    others: int
    """How many tokens are computed."""


class SourceKeys:
    """What the records of a step offer. Keys that all frames see at the same places are placed once a step."""

    def __init__(self, records: dict[int, StepRecord], positions: SourcePositions, *, keeps_ground: bool) -> None:
        """Begin without a record.

        Args:
            records: number of a source → its record; this object fills it and clears it.
            positions: see `ControlPlan.positions`.
            keeps_ground: whether a source may also be the ground of frames, where its keys stand as they stood.
        """
        self._records, self._positions = records, positions
        self._kept_in_place = positions == "as-is" or (positions == "shifted" and not keeps_ground)
        self._placed: set[tuple[int, str]] = set()
        self.rows: Sequence[list[int]] = ()
        """Of each source, the rows of its record for the branches of a call."""

    def clear(self) -> None:
        """Another step begins."""
        self._records.clear()
        self._placed.clear()

    def add(self, number: int, record: StepRecord) -> None:
        """A source's record of the step in progress."""
        self._records[number] = replace(record, keys=dict(record.keys))  # placed keys replace those in it

    def of(
        self,
        number: int,
        layer: str,
        own_grid: tuple[int, int],
        width: int,
        qkv: QKV,
        limbs: Callable[[torch.device], torch.Tensor] | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Key and value of a source, (branches, heads, source tokens, head_dim).

        Args:
            own_grid: of the source's tokens.
            width: of the frames' grid.
            limbs: the place of each token, where keys go with the limbs (see `Limbs.places`).
        """
        in_place = self._kept_in_place and not qkv.places_differ
        if in_place and qkv.knows_places:
            self._put_in_place(number, layer, own_grid, width, qkv)
        record, rows = self._records[number], self.rows[number]
        key, value = (
            # usually all branches in their order, and then nothing is copied; a source recorded in half precision
            # may serve frames that are made again in float32
            split_heads(states if rows == list(range(len(states))) else states[rows], qkv.heads).to(qkv.dtype)
            for states in (record.keys[layer], record.values[layer])
        )
        if limbs is not None:
            return qkv.placed_at(key, limbs(key.device)), value
        if in_place or self._positions == "free":
            return key, value
        return qkv.placed(key, own_grid, self._first(width)), value

    def of_ground(
        self, ground: NotComputed, layer: str, grid: tuple[int, int], qkv: QKV
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Key and value of the ground, where it stands in the frame: (rows, heads, ground tokens, head_dim)."""
        record, rows = self._records[ground.source], self.rows[ground.source]
        if self._positions == "as-is" and qkv.knows_places:
            self._put_in_place(ground.source, layer, grid, grid[1], qkv)
            keys = record.keys[layer]
        else:
            keys = merge_heads(qkv.placed(split_heads(record.keys[layer], qkv.heads).to(qkv.dtype), grid))
        key, value = (
            split_heads(states.index_select(1, ground.tokens)[rows], qkv.heads)
            .to(qkv.dtype)
            .expand(qkv.rows, -1, -1, -1)
            for states in (keys, record.values[layer])
        )
        return key, value

    def _first(self, width: int) -> tuple[int, int]:
        """Row and column of a source's first token."""
        return (0, width if self._positions == "shifted" else 0)

    def _put_in_place(self, number: int, layer: str, own_grid: tuple[int, int], width: int, qkv: QKV) -> None:
        if (number, layer) in self._placed:
            return
        self._placed.add((number, layer))
        keys = cast(dict[str, torch.Tensor], self._records[number].keys)
        key = split_heads(keys[layer], qkv.heads).to(qkv.dtype)
        keys[layer] = merge_heads(qkv.placed(key, own_grid, self._first(width)))
