"""What the drawn world knows about where attention should look."""

import numpy as np
import torch

from masactrl_video.demo.architecture import STAND_IN, build_unet
from masactrl_video.demo.training.matching import coverage, matches
from masactrl_video.demo.training.pairs import Truth, told_where_to_look
from masactrl_video.demo.world.frame import posed_at_random
from masactrl_video.demo.world.identity import SMALL_WORLD, random_identity

SIDE = 16


def two_frames(pairs: int) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Keypoints, masks and pictures of characters in two poses each."""
    frames = []
    for pair in range(pairs):
        identity = random_identity(np.random.default_rng(pair), SMALL_WORLD)
        frames.append(
            [posed_at_random(identity, np.random.default_rng((pair, n)), 128, 128, SMALL_WORLD) for n in (0, 1)]
        )
    first, second = (np.stack([pair[n].keypoints for pair in frames]).astype(np.float32) for n in (0, 1))
    masks = np.stack([pair[0].mask for pair in frames]), np.stack([pair[1].mask for pair in frames])
    pictures = np.stack([[frame.image for frame in pair] for pair in frames])
    return first, second, (masks[0].astype(np.uint8), masks[1].astype(np.uint8)), pictures


def cells(pictures: np.ndarray) -> np.ndarray:
    """Mean colours of the cells. (pictures, cells, 3)"""
    count, height, width, _ = pictures.shape
    blocks = pictures.reshape(count, SIDE, height // SIDE, SIDE, width // SIDE, 3).mean(axis=(2, 4))
    return blocks.reshape(count, -1, 3)


def test_a_picture_matches_itself_cell_by_cell() -> None:
    first, _, masks, _ = two_frames(2)
    found = matches(first, first, (masks[0], masks[0]), SIDE)
    assert (found.argmax(axis=-1) == np.arange(SIDE**2)).all()


def test_colours_fetched_from_where_it_matches_are_those_of_the_other_pose() -> None:
    first, second, masks, pictures = two_frames(8)
    found = matches(first, second, masks, SIDE)
    before, after = cells(pictures[:, 0]), cells(pictures[:, 1])
    figure = (coverage(masks[1], SIDE) >= 0.5) & (found.sum(axis=-1) > 0)
    fetched, in_place = (np.abs(colours - after)[figure].mean() for colours in (found @ before, before))
    assert fetched < 0.5 * in_place


def test_a_cell_that_the_other_picture_hides_matches_nothing() -> None:
    first, second, masks, _ = two_frames(8)
    sums = matches(first, second, masks, SIDE).sum(axis=-1)
    assert ((np.abs(sums - 1) < 1e-4) | (sums == 0)).all()
    behind = (coverage(masks[0], SIDE) == 1) & (coverage(masks[1], SIDE) == 0)
    assert (sums[behind] == 0).any()


def test_attention_is_compared_with_the_truth_and_left_as_it_was() -> None:
    torch.manual_seed(0)
    unet = build_unet(STAND_IN, 8)
    before = dict(unet.attn_processors)
    truth = Truth(
        {64: torch.eye(64)[None]},
        {64: torch.ones(2, 64)},
        torch.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]),
    )
    text = torch.randn(2, 3, STAND_IN.text_width)
    with told_where_to_look(unet, "first", truth) as watched:
        unet(torch.randn(2, 8, 8, 8), 1, text)
    losses = watched.losses()
    assert set(losses) == {"matching", "words"}
    assert len(watched.matching) == 3  # the self-attention layers on the way up with as many cells
    assert len(watched.words) == 5
    assert all(loss > 0 for loss in losses.values())
    assert unet.attn_processors == before


def test_the_second_picture_sees_only_the_first() -> None:
    torch.manual_seed(0)
    unet = build_unet(STAND_IN, 8)
    nothing = Truth({}, {}, torch.zeros(2, 3))
    latents, text = torch.randn(2, 8, 8, 8), torch.randn(2, 3, STAND_IN.text_width)
    with told_where_to_look(unet, "first", nothing), torch.no_grad():
        pair = unet(latents, 1, text).sample
    with torch.no_grad():
        alone = unet(latents, 1, text).sample
    torch.testing.assert_close(pair[0], alone[0], atol=1e-5, rtol=1e-4)
    assert (pair[1] - alone[1]).abs().max() > 1e-3
