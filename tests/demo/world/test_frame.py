"""The drawn world: what is known about a picture is true of it."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from masactrl_video.demo.world.frame import draw_frame, random_frame
from masactrl_video.demo.world.identity import FULL_WORLD, SMALL_WORLD, random_identity
from masactrl_video.demo.world.poses import mirrored, pose_of
from masactrl_video.demo.world.vocabulary import ACTIONS, SPECIES


def test_the_same_seed_draws_the_same_bytes_and_another_seed_does_not() -> None:
    first, again, other = (random_frame(seed, 96, 96) for seed in (3, 3, 4))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.keypoints, again.keypoints)
    assert first.caption == again.caption
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 160), (130, 70)])
def test_a_frame_has_the_asked_size_and_its_keypoints_lie_on_the_silhouette(height: int, width: int) -> None:
    pose = pose_of("standing", 0.0, x=0.5 * width / height, ground=0.94, height=0.5)
    frame = draw_frame(random_identity(np.random.default_rng(0)), pose, "standing", height, width)
    assert frame.image.shape == (height, width, 3)
    assert frame.image.dtype == np.uint8
    assert frame.mask.shape == (height, width)
    columns, rows = np.floor(frame.keypoints).astype(int).T
    assert frame.mask[rows, columns].all()


def test_only_the_silhouette_and_its_shadow_change_with_the_pose() -> None:
    identity = random_identity(np.random.default_rng(1))
    poses = [pose_of("kicking", phase, x=0.5, ground=0.94, height=0.75) for phase in (0.0, 0.5)]
    first, second = (draw_frame(identity, pose, "kicking", 128, 128) for pose in poses)
    differs = (first.image != second.image).any(axis=2)
    either = (first.mask | second.mask).astype(np.uint8)
    near = cv2.dilate(either, np.ones((5, 5), np.uint8)).astype(bool)  # soft edges reach beyond half-covered pixels
    near[115:] = True  # the shadow
    assert differs.any()
    assert not (differs & ~near).any()


def test_the_caption_names_what_it_must_and_nothing_else() -> None:
    identity = replace(
        random_identity(np.random.default_rng(2)), species="panda", shirt="red", trousers="blue", scene="meadow"
    )
    pose = pose_of("waving", 0.2, x=0.5, ground=0.94, height=0.75)
    wanted = "a panda in a red shirt and blue pants waving in the meadow"
    assert draw_frame(identity, pose, "waving", 64, 64).caption == wanted
    unnamed = replace(identity, pattern="dots", hat="cone", scarf="green", shades=(1.0, 1.0, 1.0))
    assert draw_frame(unnamed, pose, "waving", 64, 64).caption == wanted


@pytest.mark.parametrize("change", [{"pattern": "stripes"}, {"hat": "cone"}, {"scarf": "blue"}, {"shirt": "red"}])
def test_every_attribute_can_be_seen(change: dict[str, str]) -> None:
    plain = replace(
        random_identity(np.random.default_rng(5)),
        species="bear",
        pattern="plain",
        hat="none",
        scarf="none",
        shirt="green",
    )
    pose = pose_of("standing", 0.0, x=0.5, ground=0.94, height=0.75)
    pictures = [
        draw_frame(identity, pose, "standing", 128, 128).image for identity in (plain, replace(plain, **change))
    ]
    assert (pictures[0] != pictures[1]).any(axis=2).sum() > 100


@pytest.mark.parametrize("species", SPECIES)
@pytest.mark.parametrize("action", ACTIONS)
def test_every_species_does_every_action_within_the_picture(species: str, action: str) -> None:
    identity = replace(random_identity(np.random.default_rng(7)), species=species, hat="none")
    pose = pose_of(action, 0.3, x=0.5, ground=0.94, height=0.75)
    frame = draw_frame(identity, pose, action, 64, 64)
    assert 0.05 < frame.mask.mean() < 0.5
    assert frame.mask[0].sum() == 0
    assert np.all((frame.keypoints > 0) & (frame.keypoints < 64))


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_moves_smoothly_and_ends_where_it_began(action: str) -> None:
    steps = np.stack([pose_of(action, index / 48, x=0.5, ground=0.94, height=0.75).keypoints() for index in range(49)])
    moved = np.linalg.norm(np.diff(steps, axis=0), axis=2)
    assert 0 < moved.max() < 0.08
    np.testing.assert_allclose(steps[0], steps[-1], atol=1e-9)


def test_a_mirrored_pose_exchanges_left_and_right() -> None:
    pose = pose_of("waving", 0.4, x=0.5, ground=0.94, height=0.75)
    left_to_right = [0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16]
    reflected = pose.keypoints()[left_to_right] * (-1, 1) + (1, 0)
    np.testing.assert_allclose(mirrored(pose).keypoints(), reflected, atol=1e-9)


def test_some_named_combinations_are_held_out_and_a_small_world_stays_small() -> None:
    random = np.random.default_rng(0)
    held_out = [random_identity(random, FULL_WORLD).held_out for _ in range(2000)]
    assert 0.07 < np.mean(held_out) < 0.13
    assert all(random_identity(random, SMALL_WORLD).species in SMALL_WORLD.species for _ in range(100))
