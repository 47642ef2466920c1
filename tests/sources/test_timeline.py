"""Which sources a frame follows, and the frames that get one by what the guidance shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from masactrl_video.demo.world.poses import mirrored, pose_of
from masactrl_video.errors import UserError
from masactrl_video.poses.pose import Person, Pose
from masactrl_video.render.plan import cut_chunks
from masactrl_video.sources.key_frames import chosen, distance_in, edge_distance, pose_distance, spread
from masactrl_video.sources.timeline import Timeline


def body(x: float = 0.5, height: float = 0.7, phase: float = 0.0, turned: bool = False) -> Pose:
    posture = pose_of("dancing", phase, x=x, ground=0.9, height=height)
    points = np.ones((18, 3), np.float32)
    points[:, :2] = (mirrored(posture) if turned else posture).keypoints() * 100
    return Pose((Person(points),), 100, 100)


NOBODY = Pose((), 100, 100)


class Edges(list[np.ndarray]):
    """Guidance by edges."""

    pose_path: Path | None = None


def line(at: int) -> np.ndarray:
    picture = np.zeros((50, 50, 3), np.uint8)
    picture[:, at] = 255
    return picture


def test_a_frame_follows_the_last_source_that_has_begun() -> None:
    timeline = Timeline((0, 3, 5))
    assert [timeline.weights(frame).index(1.0) for frame in range(7)] == [0, 0, 0, 1, 1, 2, 2]
    assert list(timeline.cuts()) == [3, 5]


def test_weights_move_from_one_source_to_the_next_and_sum_to_one() -> None:
    timeline = Timeline((0, 2), mixed_frames=3)
    assert [timeline.weights(frame)[1] for frame in range(7)] == [0, 0, 0.25, 0.5, 0.75, 1, 1]
    assert all(sum(timeline.weights(frame)) == 1 for frame in range(7))


def test_frames_of_a_batch_follow_the_same_sources() -> None:
    timeline = Timeline((0, 3, 9), mixed_frames=2)
    chunks = cut_chunks(14, 4, 8, [lambda frame: Path("/none")], timeline.cuts())
    batches = [batch for chunk in chunks for batch in chunk.batches]
    assert [frame for batch in batches for frame in range(*batch)] == list(range(14))
    assert all(len({timeline.weights(frame) for frame in range(*batch)}) == 1 for batch in batches)
    assert {first for first, _ in batches} >= {0, 4, 8, 12}  # as without a timeline


def test_sources_are_spread_evenly() -> None:
    assert spread(4, 10) == [0, 2, 5, 7]
    assert spread(10, 10) == list(range(10))


def test_a_frame_is_chosen_where_all_sources_are_far() -> None:
    places = [0.0, 1.0, 4.0, 0.5, 4.2, 9.0]
    assert chosen(6, lambda frame, key: abs(places[frame] - places[key]), 2.0) == [0, 2, 5]
    assert chosen(6, lambda frame, key: 1.0, 0.5, apart_frames=3) == [0, 3]


def test_guidance_that_jumps_is_told() -> None:
    with pytest.raises(UserError, match=r"more than 32 sources by frame 32; .* above 0\.5"):
        chosen(100, lambda frame, key: 1.0, 0.5)


def test_place_and_size_of_a_body_do_not_count_but_its_pose_and_side_do() -> None:
    distance = pose_distance([body(), body(x=0.3, height=0.5), body(phase=0.5), body(turned=True), NOBODY])
    assert distance(1, 0) == pytest.approx(0, abs=1e-4)
    assert distance(2, 0) > 0.2
    assert distance(3, 0) > 0.2
    assert distance(4, 0) == 0
    assert pose_distance([NOBODY, NOBODY])(1, 0) == 0


def test_edges_are_far_where_the_source_has_none_near() -> None:
    distance = edge_distance(Edges([line(10), line(11), line(40), np.zeros((50, 50, 3), np.uint8)]))
    assert (distance(1, 0), distance(2, 0), distance(3, 0), distance(0, 3)) == (0, 1, 0, 1)


def test_pictures_of_poses_tell_no_poses() -> None:
    with pytest.raises(UserError, match="guidance pose is given as pictures"):
        distance_in({"pose": Edges([line(1)])})
