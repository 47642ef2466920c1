"""Keys that go with the limbs of a pose, in each mode: where nobody has moved nothing changes to the bit."""

from __future__ import annotations

import pytest
import torch

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.parts import SourcePart
from masactrl_video.attention.plan import ControlPlan
from masactrl_video.attention.recorded import MemorySource, StepRecord
from masactrl_video.attention.session import AttentionControl
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.branches import UNGUIDED
from masactrl_video.model.backbones.joint.layers import TokenLayer
from masactrl_video.model.backbones.qkv import QKV, split_heads
from masactrl_video.model.backbones.steps import DenoiserCall
from masactrl_video.poses.named_poses import joined, named_pose
from masactrl_video.poses.warp import Skeleton

FRAMES, HEADS, GRID, WORDS, CHANNELS = 3, 2, (8, 8), 5, 8
LATENT, TOKENS, SIDE_PX = (16, 16), 64, 128
LAYER = TokenLayer(0, "transformer_blocks.0", CHANNELS, 2)
LEFT = torch.arange(16).expand(LATENT) < 8
MODES = ["source", "union", "masked", "regions"]


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def source(seed: int) -> MemorySource:
    recorded = MemorySource(UNGUIDED, (LAYER.name,))
    keys, values = normal(seed, 2, 1, TOKENS, CHANNELS)
    recorded.add(1.0, StepRecord({LAYER.name: keys}, {LAYER.name: values}, normal(seed, *LATENT).sigmoid()))
    return recorded


def placed_at(key: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Stands for the rotation: each token's places change its key."""
    return key * (1 + places[:, :1] * 0.3) * (1 - places[:, 1:] * 0.2)


def placed(key: torch.Tensor, grid: tuple[int, int], first: tuple[int, int]) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    return placed_at(key, torch.stack([rows + first[0], columns + first[1]], -1).reshape(-1, 2).float())


def qkv() -> QKV:
    def states(first: int, tokens: int, text: QKV | None = None) -> QKV:
        query, key, value = (
            split_heads(normal(seed, FRAMES, tokens, CHANNELS), HEADS) for seed in range(first, first + 3)
        )
        return QKV(
            lambda: query, lambda: key, lambda: value, rows=FRAMES, tokens=tokens, heads=HEADS, dtype=torch.float32,
            place=placed, place_at=placed_at, text=text,
        )  # fmt: skip

    return states(7, TOKENS, states(17, WORDS))


def couple(down: int = 0, right: int = 0) -> Skeleton:
    """Two people who fill a half each; the right one has gone so many tokens."""
    halves = [
        named_pose("standing").transform(
            lambda xy, x=x, y=y: (xy - [256, 130]) * [0.25, 0.36] + [x, y],  # type: ignore[misc]
            width_px=SIDE_PX,
            height_px=SIDE_PX,
        )
        for x, y in ((32, 0), (96 + 16 * right, 16 * down))
    ]
    return Skeleton.of(joined(halves))


def attended(mode: str, positions: str, frames: list[Skeleton], sources: int = 2) -> tuple[torch.Tensor, list[float]]:
    regions = [LEFT, ~LEFT] if mode == "regions" else [None, None]
    parts = [SourcePart(source(seed), region=region) for seed, region in enumerate(regions[:sources])]
    plan = ControlPlan((0,), (LAYER,), mode, positions=positions)  # type: ignore[arg-type]
    control = AttentionControl(parts, plan, UNGUIDED, MaskRule(threshold=0.5))
    control.figures.target_mask = LEFT.expand(FRAMES, -1, -1)
    control.limbs.sources, control.limbs.frames = [couple()] * sources, frames
    control.begin(DenoiserCall(1.0, FRAMES, LATENT))
    out = control.attend(LAYER, qkv())
    assert out is not None
    control.check_fired(calls_per_step=1)
    return out[:, -TOKENS:], control.source_share(FRAMES)


@pytest.mark.parametrize("mode", MODES)
def test_a_frame_of_the_sources_pose_is_as_is_to_the_bit(mode: str) -> None:
    nobody = Skeleton(SIDE_PX, SIDE_PX, ())
    moved, shares = attended(mode, "pose", [couple(), nobody, couple()])
    still, shares_as_is = attended(mode, "as-is", [])
    assert torch.equal(moved, still)
    assert shares == shares_as_is


@pytest.mark.parametrize("mode", MODES)
def test_each_frame_has_its_own_pose(mode: str) -> None:
    """What a frame gets does not depend on the poses of the others; one in another pose gets something else."""
    moved, shares = attended(mode, "pose", [couple(), couple(1, 0), couple(0, -1)])
    still, _ = attended(mode, "as-is", [])
    assert (moved[0] - still[0]).abs().max() < 1e-6
    for frame, own in ((1, couple(1, 0)), (2, couple(0, -1))):
        alone, shares_alone = attended(mode, "pose", [own] * FRAMES)
        assert (moved[frame] - alone[frame]).abs().max() < 1e-6
        assert (moved[frame] - still[frame]).abs().max() > 1e-3
        assert shares[frame] == pytest.approx(shares_alone[frame], abs=1e-6)


def test_in_regions_only_the_queries_of_who_has_moved_are_changed() -> None:
    """The left person's source has the left person alone, who stands still."""
    left = Skeleton(SIDE_PX, SIDE_PX, couple().people[:1])
    parts = [SourcePart(source(seed), region=region) for seed, region in enumerate((LEFT, ~LEFT))]
    outs = []
    for frame in (couple(), couple(1, 0)):
        control = AttentionControl(
            parts, ControlPlan((0,), (LAYER,), "regions", positions="pose"), UNGUIDED, MaskRule(threshold=0.5)
        )
        control.limbs.sources, control.limbs.frames = [left, couple()], [frame] * FRAMES
        control.begin(DenoiserCall(1.0, FRAMES, LATENT))
        out = control.attend(LAYER, qkv())
        assert out is not None
        outs.append(out[:, -TOKENS:].reshape(FRAMES, *GRID, CHANNELS))
    assert (outs[0] - outs[1])[:, :, :4].abs().max() < 1e-6
    assert (outs[0] - outs[1])[:, :, 4:].abs().max() > 1e-3


def test_skeletons_that_are_missing_are_asked_for() -> None:
    with pytest.raises(UserError, match="source_positions pose: got 2 skeletons for 2 sources and 0 for 3 frames"):
        attended("source", "pose", [])
