"""Places that move, long clips, and two in one picture: drawn exactly, and what is known of them is true."""

from dataclasses import replace

import cv2
import numpy as np

from masactrl_video.demo.clip import HERO, alike, clip_frames, crossing_frames
from masactrl_video.demo.world.frame import draw_frame
from masactrl_video.demo.world.poses import pose_of
from masactrl_video.demo.world.scene import View

SIZE_PX = 96
STANDING = pose_of("standing", 0.0, x=0.5, ground=0.94, height=0.78)


def drawn(view: View | None, **changes: str) -> np.ndarray:
    return draw_frame(replace(HERO, **changes), STANDING, "standing", SIZE_PX, SIZE_PX, view).image


def test_a_pan_moves_the_ground_by_whole_pixels_and_not_the_character() -> None:
    first, second = drawn(View()), drawn(View(pan=12 / SIZE_PX))
    mask = draw_frame(HERO, STANDING, "standing", SIZE_PX, SIZE_PX).mask
    mask = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)  # its edge is soft
    np.testing.assert_array_equal(first[mask], second[mask])
    rows, sky = slice(0, 80), slice(84, SIZE_PX)  # beside the character, above its shadow
    np.testing.assert_array_equal(second[rows, sky.start - 12 : SIZE_PX - 12], first[rows, sky])


def test_a_view_that_has_turned_all_round_shows_the_same() -> None:
    np.testing.assert_array_equal(drawn(View(pan=1.6)), drawn(View()))
    assert (drawn(View(pan=0.8)) != drawn(View())).any()


def test_what_drifts_is_the_cloud_alone() -> None:
    moved = (drawn(View(drift=0.2)) != drawn(View())).any(axis=2)
    assert moved.any()
    assert not moved[SIZE_PX // 3 :].any()


def test_a_long_clip_repeats_its_action_while_the_place_goes_on() -> None:
    frames = list(clip_frames(HERO, "dancing", 1000, 16, cycle=20, pan=0.5))
    assert len(frames) == 1000
    np.testing.assert_allclose(frames[3].keypoints, frames[23].keypoints)
    assert (frames[0].image != frames[500].image).any()


def test_two_who_cross_change_sides_and_the_second_hides_the_first() -> None:
    frames = list(crossing_frames(alike(HERO), 7, SIZE_PX))
    places = np.array([[mask.nonzero()[1].mean() for mask in frame.masks] for frame in frames])
    assert (np.sign(places[0, 1] - places[0, 0]), np.sign(places[-1, 1] - places[-1, 0])) == (1, -1)
    seen = np.array([[mask.sum() for mask in frame.masks] for frame in frames])
    assert seen[3, 0] < seen[0, 0] / 2
    assert all(not (frame.masks[0] & frame.masks[1]).any() for frame in frames)
    assert frames[0].image.shape == (SIZE_PX, 2 * SIZE_PX, 3)
    assert {name for name in vars(HERO) if getattr(alike(HERO)[0], name) != getattr(alike(HERO)[1], name)} == {
        "shirt",
        "trousers",
        "scarf",
    }
