"""What all frames of a figure say of its outline, and what one of them may still say alone."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from masactrl_video.poses.cycles import cycle
from masactrl_video.poses.pose import BODY_NAMES, Person
from masactrl_video.poses.skeleton import WRISTS
from masactrl_video.sprites.alpha import Matte
from masactrl_video.sprites.body import Body
from masactrl_video.sprites.shape import in_agreement

SIDE_PX = 512
SKIN, SKY, MEADOW = (60, 160, 60), (120, 170, 240), (64, 156, 66)
FIRST = 0

Flags = NDArray[np.bool_]


def about(body: Body, radius_px: int) -> Flags:
    """A disc about the left wrist."""
    x, y = np.round(body.points[WRISTS["left_hand"]]).astype(int).tolist()
    return cv2.circle(np.zeros((SIDE_PX, SIDE_PX), np.uint8), (x, y), radius_px, 1, -1) > 0


@pytest.fixture(scope="module")
def bodies() -> list[Body]:
    return [Body.of(pose, SIDE_PX) for pose in cycle("wave")]


def shown(bodies: list[Body], ground: tuple[int, int, int] = SKY) -> tuple[list[NDArray[np.uint8]], list[Matte]]:
    """Figures with a large hand before a plain ground, and their true mattes."""
    frames, mattes = [], []
    for body in bodies:
        figure = body.likely() | about(body, 22)
        behind = np.full((SIDE_PX, SIDE_PX, 3), ground, np.uint8)
        frames.append(np.where(figure[..., None], np.uint8(SKIN), behind))
        mattes.append(Matte(figure.astype(np.float32), behind))
    return frames, mattes


def test_a_hand_before_its_own_colour_is_told_by_the_other_frames(bodies: list[Body]) -> None:
    frames, mattes = shown(bodies)
    hand, place = about(bodies[FIRST], 18), about(bodies[FIRST], 60)
    behind = np.where(place[..., None], np.uint8(MEADOW), mattes[FIRST].behind)
    mattes[FIRST] = Matte(np.where(place, np.float32(0), mattes[FIRST].alpha), behind)
    frames[FIRST] = np.where((place & (mattes[FIRST].alpha == 0))[..., None], np.uint8(MEADOW), frames[FIRST])
    agreed = in_agreement(frames, bodies, mattes, [range(len(frames))])
    assert (agreed[FIRST].alpha[hand] > 0.5).mean() > 0.95
    beside = about(bodies[FIRST], 50) & ~about(bodies[FIRST], 30) & ~bodies[FIRST].likely()
    assert (agreed[FIRST].alpha[beside] < 0.5).all()


def test_frames_that_tell_for_themselves_stay_as_they_are(bodies: list[Body]) -> None:
    frames, mattes = shown(bodies)
    for matte, agreed in zip(mattes, in_agreement(frames, bodies, mattes, [range(len(frames))]), strict=True):
        before, after = matte.alpha > 0.5, agreed.alpha > 0.5
        assert (before & after).sum() / (before | after).sum() > 0.98


@pytest.mark.parametrize(("radius_px", "stays"), [(25, True), (3, False)])
def test_what_one_frame_alone_has_stays_if_it_is_no_thread(bodies: list[Body], radius_px: int, stays: bool) -> None:
    frames, mattes = shown(bodies)
    alone = cv2.line(np.zeros((SIDE_PX, SIDE_PX), np.uint8), (60, 300), (120, 300), 1, 2 * radius_px) > 0
    frames[FIRST][alone] = (200, 40, 40)
    mattes[FIRST] = replace(mattes[FIRST], alpha=np.where(alone, np.float32(1), mattes[FIRST].alpha))
    agreed = in_agreement(frames, bodies, mattes, [range(len(frames))])[FIRST].alpha
    assert (agreed[alone] > 0.5).mean() == pytest.approx(float(stays), abs=0.05)


@pytest.mark.parametrize("missing", ["left wrist", "nose", "right shoulder"])
def test_what_is_not_seen_of_a_body_is_left_out(missing: str) -> None:
    bodies = []
    for pose in cycle("wave", "back"):
        body = pose.people[0].body.copy()
        body[BODY_NAMES.index(missing)] = 0
        bodies.append(Body.of(replace(pose, people=(Person(body),)), SIDE_PX))
    assert {len(body.bones()) for body in bodies} == {Body.BONES}
    frames, mattes = shown(bodies)
    agreed = in_agreement(frames, bodies, mattes, [range(len(frames))])
    for matte, body in zip(agreed, bodies, strict=True):
        assert np.isfinite(matte.alpha).all()
        assert (matte.alpha[body.certain()] > 0.5).mean() > 0.99


def test_a_side_says_nothing_of_another(bodies: list[Body]) -> None:
    frames, mattes = shown(bodies)
    hidden = replace(mattes[FIRST], alpha=np.zeros_like(mattes[FIRST].alpha))
    apart = in_agreement(frames, bodies, [hidden, *mattes[1:]], [[FIRST], range(1, len(frames))])
    assert not (apart[FIRST].alpha > 0.5).any()
    assert (apart[1].alpha == in_agreement(frames[1:], bodies[1:], mattes[1:], [range(len(frames) - 1)])[0].alpha).all()
