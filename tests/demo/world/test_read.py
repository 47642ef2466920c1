"""Who is in a picture is found by drawing the candidates."""

import cv2
import numpy as np
import pytest

from masactrl_video.demo.world.frame import draw_frame
from masactrl_video.demo.world.identity import SMALL_WORLD, random_identity
from masactrl_video.demo.world.poses import random_pose
from masactrl_video.demo.world.read import read_identity


@pytest.mark.parametrize("seed", range(3))
def test_all_but_fine_shades_is_read_off_a_blurred_and_noisy_picture(seed: int) -> None:
    random = np.random.default_rng(seed)
    identity, pose = random_identity(random, SMALL_WORLD), random_pose("dancing", random, 1.0)
    exact = draw_frame(identity, pose, "dancing", 96, 96).image
    spoiled = cv2.GaussianBlur(exact, (0, 0), 1.0) + random.normal(0, 8, exact.shape)
    seen = read_identity(spoiled.clip(0, 255).astype(np.uint8), pose, SMALL_WORLD)
    for attribute in ("species", "shirt", "trousers", "scene", "pattern", "scarf", "hat"):
        assert getattr(seen, attribute) == getattr(identity, attribute), attribute
    np.testing.assert_allclose(seen.shades, identity.shades, atol=0.6)
