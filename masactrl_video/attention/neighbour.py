"""The frame before each frame, whose keys stand beside the source's in one softmax: one neighbour, never more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from masactrl_video.model.backbones.qkv import QKV, by_branch


@dataclass(frozen=True, eq=False)
class Neighbour:
    """What each frame of a call sees of the one before, in one layer."""

    key: torch.Tensor
    """(rows, heads, tokens, head_dim), with the positions that it had in its own frame."""
    value: torch.Tensor
    """The same shape."""
    weight: float
    """More than 0: the share of its keys in the softmax, as if each stood there so many times."""

    @cached_property
    def log_weight(self) -> float:
        """What is added to the scores of its keys."""
        return math.log(self.weight)

    def of_rows(self, rows: list[int]) -> Neighbour:
        """Some of the rows."""
        return Neighbour(self.key[rows], self.value[rows], self.weight)


class Neighbours:
    """Gives each frame what the one before has at the same step, in the same layer and branch.

    In a batch that is the row before. What the last frame of a batch has is kept for the next batch at the same step.
    """

    def __init__(self, weight: float) -> None:
        """Keep nothing yet; weight is more than 0."""
        self.weight = weight
        self._kept: dict[tuple[str, tuple[str, ...]], tuple[torch.Tensor, torch.Tensor]] = {}

    def beside(self, layer: str, branches: Sequence[str], qkv: QKV, *, is_after_another: bool, keep: bool) -> Neighbour:
        """What the frames of a call see; the first one sees itself, where no batch comes before: do not ask there.

        Args:
            is_after_another: whether the first frame's neighbour is the last of the batch before.
            keep: whether the last frame is the neighbour of the next batch's first.
        """
        of, states = (layer, tuple(branches)), [by_branch(each, len(branches)) for each in (qkv.key, qkv.value)]
        first = self._kept.pop(of) if is_after_another else [each[:, 0] for each in states]
        if keep:
            key, value = (each[:, -1].clone() for each in states)
            self._kept[of] = (key, value)
        key, value = (
            torch.cat([before[:, None], each[:, :-1]], dim=1).flatten(0, 1)
            for before, each in zip(first, states, strict=True)
        )
        return Neighbour(key, value, self.weight)


def neighbours_of(batches: Sequence[Sequence[int]]) -> list[list[bool]]:
    """Of the frames of each batch, whether the one before it comes right before it in the chunk."""
    found, before = [], None
    for frames in batches:
        row = []
        for frame in frames:
            row.append(before is not None and frame == before + 1)
            before = frame
        found.append(row)
    return found
