import colorsys
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from controlnet_aux.open_pose import util as reference
from controlnet_aux.open_pose.body import Keypoint

from masactrl_video.poses.draw import draw_pose
from masactrl_video.poses.pose import Person, Pose


def reference_keypoints(points, width_px, height_px):
    """controlnet_aux's form: 0 to 1, None where missing."""
    return [Keypoint(x / width_px, y / height_px) if c > 0 else None for x, y, c in points.astype(np.float64)]


@pytest.fixture
def without_matplotlib(monkeypatch):
    """controlnet_aux asks matplotlib for one colour conversion; the standard library has the same one."""
    colors = SimpleNamespace(hsv_to_rgb=lambda hsv: np.array(colorsys.hsv_to_rgb(*hsv)))
    monkeypatch.setitem(sys.modules, "matplotlib", SimpleNamespace(colors=colors))


@pytest.mark.parametrize(("width_px", "height_px"), [(512, 512), (768, 512), (512, 896)])
def test_a_body_is_drawn_as_controlnet_aux_draws_it(person, width_px, height_px):
    person.body[[4, 16]] = 0
    black = np.zeros((height_px, width_px, 3), np.uint8)
    expected = reference.draw_bodypose(black, reference_keypoints(person.body, width_px, height_px))
    np.testing.assert_array_equal(draw_pose(Pose((person,), width_px, height_px)), expected)


@pytest.mark.usefixtures("without_matplotlib")
def test_hands_and_face_are_drawn_as_controlnet_aux_draws_them(whole_person):
    nobody = np.zeros((18, 3), np.float32)
    expected = np.zeros((512, 512, 3), np.uint8)
    for hand in (whole_person.left_hand, whole_person.right_hand):
        expected = reference.draw_handpose(expected, reference_keypoints(hand, 512, 512))
    expected = reference.draw_facepose(expected, reference_keypoints(whole_person.face, 512, 512))
    person = Person(nobody, whole_person.face, whole_person.left_hand, whole_person.right_hand)
    np.testing.assert_array_equal(draw_pose(Pose((person,), 512, 512)), expected)


def test_widths_grow_with_the_short_side():
    def dot_area(side_px: int) -> int:
        body = np.zeros((18, 3), np.float32)
        body[0] = side_px / 2, side_px / 2, 1
        return int(draw_pose(Pose((Person(body),), side_px, side_px)).any(axis=2).sum())

    assert dot_area(512) < dot_area(768) < dot_area(1024)
    assert dot_area(1024) == pytest.approx(4 * dot_area(512), rel=0.15)
    assert dot_area(64) > 0


def test_missing_points_and_points_outside_draw_nothing(person):
    person.body[:, 2] = 0
    assert not draw_pose(Pose((person,), 512, 512)).any()
    person.body[:] = 5000, -5000, 1
    assert not draw_pose(Pose((person,), 512, 512)).any()


def test_nobody_is_black(empty_pose):
    picture = draw_pose(empty_pose)
    assert picture.shape == (512, 512, 3)
    assert not picture.any()
