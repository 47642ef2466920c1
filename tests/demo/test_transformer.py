"""The transformer's training: its size, what it is given, and pairs whose attention shares keys and values."""

from typing import Any, get_args

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from torch import Tensor, nn

from masactrl_video.demo.architecture import (
    DEMO,
    STAND_IN,
    build_flux_controlnet,
    build_text_encoder,
    build_transformer,
    build_vae,
)
from masactrl_video.demo.tokenizer import build_tokenizer
from masactrl_video.demo.training.data import Frames, training_frame
from masactrl_video.demo.training.denoiser import Batch
from masactrl_video.demo.training.matching import matches, moved
from masactrl_video.demo.training.noising import LEAST_RATIO, flow_noised, flow_times
from masactrl_video.demo.training.pairs import Sight, Truth
from masactrl_video.demo.training.transformer import (
    Positions,
    Shared,
    begin,
    draw_shared,
    flow_losses,
    grid,
    packed,
    places,
    sharing,
    unpacked,
)
from masactrl_video.demo.world.vocabulary import known_words

SIDE = 4
CELLS = SIDE**2
PAIRS = 2
ROWS = 2 * PAIRS
SIZE_PX = 128


@pytest.fixture
def transformer() -> Any:
    torch.manual_seed(0)
    return build_transformer(STAND_IN)


def given(pairs_alike: bool = False) -> dict[str, Any]:
    torch.manual_seed(1)
    rows = {
        "hidden_states": torch.randn(ROWS, CELLS, 32),
        "encoder_hidden_states": torch.randn(ROWS, 8, STAND_IN.text_width),
        "pooled_projections": torch.randn(ROWS, STAND_IN.text_width),
        "timestep": torch.rand(ROWS),
    }
    if pairs_alike:
        rows = {name: tensor[:PAIRS].repeat(2, *[1] * (tensor.ndim - 1)) for name, tensor in rows.items()}
    return {**rows, "img_ids": grid(SIDE), "txt_ids": torch.zeros(8, 3), "return_dict": False}


def truth() -> Truth:
    return Truth(
        {CELLS: torch.full((PAIRS, CELLS, CELLS), 1 / CELLS)},
        {CELLS: torch.rand(ROWS, CELLS), 4 * CELLS: torch.rand(ROWS, 4 * CELLS)},
        torch.ones(ROWS, 8),
    )


def shared_with(sight: Sight, blocks: tuple[bool, ...] = (True,) * 3) -> Shared:
    return Shared(sight, "as-is", blocks)


def megabytes(*networks: nn.Module) -> float:
    return sum(2 * weight.numel() for network in networks for weight in network.parameters()) / 1e6


def test_the_model_with_its_controlnet_fits_in_sixteen_megabytes() -> None:
    text_encoder = build_text_encoder(DEMO, build_tokenizer(known_words(), DEMO.max_tokens))
    parts = (build_transformer(DEMO), build_flux_controlnet(DEMO), build_vae(DEMO, 128), text_encoder, text_encoder)
    assert megabytes(*parts) < 15.9


def test_latents_are_packed_as_flux_packs_them() -> None:
    latents = torch.randn(2, 8, 6, 6)
    assert torch.equal(packed(latents), FluxPipeline._pack_latents(latents, 2, 8, 6, 6))
    assert torch.equal(unpacked(packed(latents), latents.shape[-1] // 2), latents)


@torch.no_grad()
def test_an_untrained_transformer_begins_by_changing_nothing(transformer: Any) -> None:
    controlnet = build_flux_controlnet(STAND_IN)
    for network in (transformer, controlnet):
        begin(network)
    assert not transformer(**given())[0].any()
    double, single = controlnet(controlnet_cond=torch.randn(ROWS, CELLS, 32), **given())
    assert not any(states.any() for states in (*double, *single))


@torch.no_grad()
@pytest.mark.parametrize("shared", [None, shared_with("first", (False,) * 3)])
def test_watching_changes_nothing(transformer: Any, shared: Shared | None) -> None:
    plain = transformer(**given())[0]
    with sharing(transformer, truth(), shared, grid(SIDE).expand(PAIRS, -1, -1), CELLS) as watched:
        seen = transformer(**given())[0]
    torch.testing.assert_close(seen, plain)
    assert set(watched.losses()) == {"words"}
    assert torch.equal(transformer(**given())[0], plain)


@torch.no_grad()
def test_a_picture_that_sees_its_like_at_the_same_places_is_as_if_alone(transformer: Any) -> None:
    plain = transformer(**given(pairs_alike=True))[0]
    results = {}
    for name, offset in (("as-is", 0.0), ("shifted", float(SIDE))):
        seen_at = (grid(SIDE) + torch.tensor([0, 0, offset])).expand(PAIRS, -1, -1)
        with sharing(transformer, truth(), shared_with("first"), seen_at, CELLS) as watched:
            results[name] = transformer(**given(pairs_alike=True))[0]
        assert set(watched.losses()) == {"words", "matching"}
    torch.testing.assert_close(results["as-is"], plain)
    torch.testing.assert_close(results["shifted"][:PAIRS], plain[:PAIRS])
    assert (results["shifted"][PAIRS:] - plain[PAIRS:]).abs().max() > 1e-4


@torch.no_grad()
@pytest.mark.parametrize("sight", ["first", "both"])
def test_second_pictures_see_the_first_ones_and_not_the_other_way_round(transformer: Any, sight: Sight) -> None:
    states = given()

    def seen(**changed: Tensor) -> Tensor:
        with sharing(transformer, truth(), shared_with(sight), grid(SIDE).expand(PAIRS, -1, -1), CELLS):
            result: Tensor = transformer(**{**states, **changed})[0]
        return result

    before, pictures = seen(), states["hidden_states"]
    other_first, other_second = pictures.clone(), pictures.clone()
    other_first[0] = torch.randn(CELLS, 32)
    other_second[PAIRS] = torch.randn(CELLS, 32)
    changed = (seen(hidden_states=other_first) - before).abs().amax(dim=(1, 2)) > 1e-5
    assert changed.tolist() == [True, False, True, False]
    changed = (seen(hidden_states=other_second) - before).abs().amax(dim=(1, 2)) > 1e-5
    assert changed.tolist() == [False, False, True, False]


@pytest.mark.parametrize("sight", [None, "both", "first"])
def test_the_velocity_leads_to_the_right_picture(sight: Sight | None) -> None:
    latents, others = torch.randn(64, 2, 3, 3), torch.randn(64, 2, 3, 3)
    times = flow_times(64, sight)
    assert bool(((times > 0) & (times <= 1)).all())
    noisy, velocity = flow_noised(latents, others, times, sight)
    torch.testing.assert_close(noisy - times.view(-1, 1, 1, 1) * velocity, latents, atol=1e-4, rtol=0)


def test_only_second_pictures_in_much_noise_begin_as_somebody_else() -> None:
    latents, others = torch.zeros(256, 2, 3, 3), torch.full((256, 2, 3, 3), 1000.0)
    times = torch.linspace(0.01, 0.99, 128).repeat(2)
    noisy, _ = flow_noised(latents, others, times, "first")
    first, second = (noisy.mean(dim=(1, 2, 3)) > 5).chunk(2)
    late = times[:128] / (1 - times[:128]) < 0.99 * LEAST_RATIO
    assert not first.any()
    assert not second[late].any()
    assert 0.3 < second[~late].float().mean() < 0.7


@pytest.fixture(scope="module")
def frames() -> Frames:
    """Four frames of one identity, then four of another one."""
    drawn = [training_frame(index, 0, SIZE_PX, "small") for index in range(8)]
    images, masks = np.stack([frame.image for frame in drawn]), np.stack([frame.mask for frame in drawn])
    points = np.stack([frame.keypoints for frame in drawn]).astype(np.float32)
    return Frames(images, images, masks.astype(np.uint8), points, [frame.caption for frame in drawn])


def batch_of(frames: Frames) -> Batch:
    chosen, latents = np.array([0, 4, 1, 5]), torch.randn(ROWS, 8, 2 * SIDE, 2 * SIDE)
    return Batch(chosen, latents, torch.randn_like(latents), torch.ones(ROWS, 8).long(), None, truth())


def test_an_unmoved_skeleton_moves_no_cell_and_a_moved_one_takes_the_character_along(frames: Frames) -> None:
    side, rows_and_columns = 8, np.indices((8, 8)).reshape(2, -1).T
    still = moved(frames.keypoints, frames.keypoints, frames.masks, side)
    np.testing.assert_allclose(still, np.broadcast_to(rows_and_columns, still.shape), atol=1e-4)
    along = moved(frames.keypoints, frames.keypoints + np.array([SIZE_PX / side, 0], np.float32), frames.masks, side)
    steps = (along - still).round(3)
    assert set(np.unique(steps[..., 0])) == {0}
    assert set(np.unique(steps[..., 1])) == {0, 1}
    assert 0.02 < steps[..., 1].mean() < 0.5


def test_cells_move_to_where_they_match(frames: Frames) -> None:
    first, second = (slice(start, None, 4) for start in (0, 1))
    pair, masks = (frames.keypoints[first], frames.keypoints[second]), (frames.masks[first], frames.masks[second])
    found, at = matches(*pair, masks, 16), moved(*pair, masks[0], 16)
    target = np.indices((16, 16)).reshape(2, -1).T[found.argmax(axis=1)]  # -> (pairs, cells of the first, 2)
    sure = found.max(axis=1) > 0.5
    assert sure.sum() > 100
    assert np.abs(at - target)[sure].mean() < 0.3


@pytest.mark.parametrize("positions", get_args(Positions))
def test_each_batch_gives_the_first_pictures_cells_their_places(frames: Frames, positions: Positions) -> None:
    at = places(positions, batch_of(frames), frames, 8)
    assert at.shape == (PAIRS, 64, 3)
    assert not at[..., 0].any()
    same = torch.isclose(at, grid(8)).all(dim=-1).float().mean()
    low, high = {"as-is": (1, 1), "shifted": (0, 0), "free": (0, 0.02), "pose": (0.3, 0.99)}[positions]
    assert low <= same <= high
    assert bool((at[..., 2] >= 8).all()) == (positions == "shifted")


def test_batches_share_in_every_way(transformer: Any) -> None:
    drawn = [draw_shared(np.random.default_rng(seed), transformer) for seed in range(300)]
    pairs = [shared for shared in drawn if shared is not None]
    assert 0.2 < 1 - len(pairs) / len(drawn) < 0.4
    assert {shared.positions for shared in pairs} == set(get_args(Positions))
    assert {shared.sight for shared in pairs} == {"first", "both"}
    single = sum(shared.blocks == (False, True, True) for shared in pairs)
    assert 0.6 < single / len(pairs) < 0.85


@pytest.mark.parametrize("shared", [None, shared_with("first")])
def test_every_part_of_the_loss_teaches_both_networks(frames: Frames, transformer: Any, shared: Shared | None) -> None:
    torch.manual_seed(0)
    controlnet = build_flux_controlnet(STAND_IN)
    text_encoder = build_text_encoder(STAND_IN, build_tokenizer(known_words(), 8)).requires_grad_(False)
    for linear in (*controlnet.controlnet_blocks, *controlnet.controlnet_single_blocks):
        nn.init.ones_(linear.weight)
    batch = batch_of(frames)
    seen_at = grid(SIDE).expand(PAIRS, -1, -1) if shared else None
    poses = torch.randn_like(batch.latents)
    losses = flow_losses(transformer, controlnet, text_encoder, batch, poses, shared, seen_at)
    assert set(losses) == {"velocity", "words"} | ({"matching"} if shared else set())
    sum(losses.values(), torch.zeros(())).backward()
    assert transformer.x_embedder.weight.grad.any()
    assert controlnet.controlnet_x_embedder.weight.grad.any()
