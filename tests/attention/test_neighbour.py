"""One neighbour: a frame's softmax also holds the keys of the frame before, in the same batch and in the last one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from masactrl_video.attention.neighbour import neighbours_of
from masactrl_video.attention.parts import SourcePart
from masactrl_video.attention.plan import ControlPlan
from masactrl_video.attention.recorded import MemorySource, StepRecord
from masactrl_video.attention.session import AttentionControl
from masactrl_video.attention.use import control_attention
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.branches import GUIDED, UNGUIDED, Branch
from masactrl_video.model.backbones.qkv import QKV, split_heads
from masactrl_video.model.backbones.steps import DenoiserCall
from masactrl_video.model.backbones.unet.layers import Layer

FRAMES, HEADS, TOKENS, CHANNELS, LATENT, TEXT = 4, 2, 24, 8, (4, 6), 5
LAYER = Layer(0, "block", 1, CHANNELS)
SOURCE = torch.randn(2, 2, TOKENS, CHANNELS, generator=torch.Generator().manual_seed(1))
"""Key and value of both branches."""
STATES = torch.randn(3, 2, FRAMES, TOKENS, CHANNELS, generator=torch.Generator().manual_seed(2))
"""Query, key and value of both branches' frames."""
WORDS = torch.randn(3, 2, FRAMES, TEXT, CHANNELS, generator=torch.Generator().manual_seed(3))
FILL = torch.tensor([0.0, 0.0, 0.0, -torch.inf, -torch.inf])
"""The prompt's last two tokens only fill it up."""


def states_of(
    states: torch.Tensor, text: torch.Tensor | None, frames: Sequence[int], branches: slice = slice(None)
) -> QKV:
    """In a layer with positions, which here put 1 more into each key."""
    query, key, value = (split_heads(each[branches, list(frames)].flatten(0, 1), HEADS) for each in states)
    beside = None
    if text is not None:
        of_text = [split_heads(each[branches, list(frames)].flatten(0, 1), HEADS) for each in text]
        fill = FILL.expand(len(query), -1)
        beside = QKV(*((lambda s=s: s) for s in of_text), rows=len(query), tokens=TEXT, heads=HEADS, dtype=query.dtype,
                     fill=fill)  # fmt: skip
    return QKV(
        lambda: query, lambda: key + 1, lambda: value, rows=len(query), tokens=TOKENS, heads=HEADS, dtype=query.dtype,
        unplaced_key=lambda: key, place=lambda key, grid, first: key + 1, text=beside,
    )  # fmt: skip


def attended(
    mode: str,
    weight: float,
    batches: Sequence[Sequence[int]],
    *,
    states: torch.Tensor = STATES,
    text: torch.Tensor | None = None,
    apart: bool = False,
) -> torch.Tensor:
    """(branches, frames, tokens, channels) of the picture's tokens.

    Args:
        apart: whether each branch has a call of its own.
    """
    source = MemorySource(GUIDED, (LAYER.name,))
    source.add(1.0, StepRecord({LAYER.name: SOURCE[0]}, {LAYER.name: SOURCE[1]}))
    plan = ControlPlan((0,), (LAYER,), mode)
    control = AttentionControl([SourcePart(source)], plan, GUIDED, neighbour=weight, calls_each_branch=apart)
    rows = neighbours_of(batches)
    calls: list[tuple[slice, tuple[Branch, ...]]] = [(slice(None), GUIDED)]
    if apart:
        calls = [(slice(1, 2), UNGUIDED), (slice(0, 1), ("unconditional",))]
    out = torch.empty(2, FRAMES, TOKENS, CHANNELS)
    for number, frames in enumerate(batches):
        control.has_neighbour = rows[number]
        control.keeps_last = any(row[0] for row in rows[number + 1 : number + 2])
        for branches, names in calls:
            control.use_branches(names)
            control.begin(DenoiserCall(1.0, len(names) * len(frames), LATENT))
            found = control.attend(LAYER, states_of(states, text, frames, branches))
            assert found is not None
            out[branches, list(frames)] = found[:, -TOKENS:].reshape(len(names), len(frames), TOKENS, CHANNELS)
        share = control.source_share(len(frames))
        assert all(0 < one <= 1 for one in share)
        if mode == "source" and text is None:
            assert [one < 1 for one in share] == [has and weight > 0 for has in rows[number]]
    return out


def expected(mode: str, weight: float, before: Sequence[int | None], text: torch.Tensor | None = None) -> torch.Tensor:
    """The same, frame by frame, as one softmax written out."""
    out = torch.empty(2, FRAMES, TOKENS, CHANNELS)
    for branch in range(2):
        for frame, neighbour in enumerate(before):
            seen = [(SOURCE[0, branch] + 1, SOURCE[1, branch], torch.ones(TOKENS))]
            if mode == "union":
                seen.append((STATES[1, branch, frame] + 1, STATES[2, branch, frame], torch.ones(TOKENS)))
            if text is not None:
                seen.append((text[1, branch, frame], text[2, branch, frame], FILL.exp()))
            if neighbour is not None:
                seen.append(
                    (STATES[1, branch, neighbour] + 1, STATES[2, branch, neighbour], weight * torch.ones(TOKENS))
                )
            key, value = (split_heads(torch.cat([each[n] for each in seen]), HEADS) for n in (0, 1))
            scores = split_heads(STATES[0, branch, frame], HEADS) @ key.mT / (CHANNELS / HEADS) ** 0.5
            scores = scores.exp() * torch.cat([each[2] for each in seen])
            out[branch, frame] = (scores / scores.sum(-1, keepdim=True) @ value).transpose(0, 1).flatten(1)
    return out


@pytest.mark.parametrize("mode", ["source", "union"])
@pytest.mark.parametrize("text", [None, WORDS], ids=["alone", "joint"])
@pytest.mark.parametrize("weight", [0.25, 1.0])
@pytest.mark.parametrize("batches", [[[0, 1, 2, 3]], [[0, 1], [2], [3]]], ids=["one batch", "three batches"])
@pytest.mark.parametrize("apart", [False, True], ids=["together", "apart"])
def test_a_frame_sees_source_and_the_frame_before_in_one_softmax(
    mode: str, text: torch.Tensor | None, weight: float, batches: list[list[int]], apart: bool
) -> None:
    """The neighbour's keys stand where they stood in its own frame; its prompt is not seen; the first has none."""
    out = attended(mode, weight, batches, text=text, apart=apart)
    assert (out - expected(mode, weight, [None, 0, 1, 2], text)).abs().max() < 1e-5


def test_frames_that_do_not_follow_each_other_are_no_neighbours() -> None:
    assert neighbours_of([[0, 1], [3, 4], [5]]) == [[False, True], [False, True], [True]]
    out = attended("source", 1.0, [[0], [2, 3], [1]])
    assert (out - expected("source", 1.0, [None, None, None, 2])).abs().max() < 1e-5


@pytest.mark.parametrize("mode", ["source", "union"])
@pytest.mark.parametrize("text", [None, WORDS], ids=["alone", "joint"])
def test_without_weight_and_for_the_first_frame_it_is_as_without_a_neighbour_to_the_bit(
    mode: str, text: torch.Tensor | None
) -> None:
    off = attended(mode, 0.0, [[0, 1], [2, 3]], text=text)
    assert torch.equal(
        attended(mode, 0.5, [[0], [2]], text=text)[:, [0, 2]], attended(mode, 0.0, [[0], [2]], text=text)[:, [0, 2]]
    )
    assert not torch.equal(attended(mode, 0.5, [[0, 1], [2, 3]], text=text)[:, 1:], off[:, 1:])


def test_a_neighbour_that_is_the_source_changes_nothing() -> None:
    states = STATES.clone()
    states[1:] = SOURCE[:, :, None]
    for weight in (0.5, 1.0):
        out = attended("source", weight, [[0, 1], [2, 3]], states=states)
        assert (out - attended("source", 0.0, [[0, 1], [2, 3]], states=states)).abs().max() < 1e-6


@pytest.mark.parametrize("batches", [[[0, 1, 2, 3]], [[0, 1], [2, 3]]], ids=["in a batch", "across batches"])
def test_it_is_the_frame_before_that_matters_and_no_other(batches: list[list[int]]) -> None:
    """Frame 1 is exchanged: frame 2 changes, and by these keys frames 0 and 3 do not."""
    states = STATES.clone()
    states[1:, :, 1] = STATES[1:, :, 3]
    one, other = (attended("source", 1.0, batches, states=each) for each in (STATES, states))
    assert [not torch.equal(one[:, n], other[:, n]) for n in range(FRAMES)] == [False, False, True, False]


def test_who_has_a_neighbour_must_be_said() -> None:
    source = MemorySource(GUIDED, (LAYER.name,))
    source.add(1.0, StepRecord({LAYER.name: SOURCE[0]}, {LAYER.name: SOURCE[1]}))
    control = AttentionControl([SourcePart(source)], ControlPlan((0,), (LAYER,), "source"), GUIDED, neighbour=0.5)
    with pytest.raises(UserError, match=r"neighbour: for 4 frames, 0 were said to have one or not; set"):
        control.begin(DenoiserCall(1.0, 8, LATENT))


def test_modes_that_tell_figures_apart_refuse_it() -> None:
    plan = ControlPlan((0,), (LAYER,), "masked")
    with (
        pytest.raises(UserError, match="neighbour: attention_mode masked does not know figure and ground of the frame"),
        control_attention(torch.nn.Identity(), MemorySource(GUIDED, ()), plan, neighbour=0.5),
    ):
        pass
