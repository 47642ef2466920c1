"""Frames of two clips matched by number or by time."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masactrl_video.errors import UserError
from masactrl_video.measure.matching import Match, match_frames
from masactrl_video.video.frame import Timing


def frames(count: int, rate: float, start: float = 0.0) -> list[Timing]:
    return [Timing(at, start + at / rate, 1 / rate) for at in range(count)]


def match(made: Sequence[Timing], given: Sequence[Timing], shortest: bool = False) -> Match:
    return match_frames((Path("made.mp4"), made), (Path("given.mp4"), given), shortest=shortest)


def test_as_many_frames_are_matched_by_number_whatever_their_rates() -> None:
    same = match(frames(4, 24), frames(4, 24, start=0.5))
    assert (same.partners, same.said) == ({0: 0, 1: 1, 2: 2, 3: 3}, "4 frames each, matched by number")
    assert "though they last 0.50 and 0.17 seconds" in match(frames(4, 8), frames(4, 24)).said


def test_half_the_rate_has_every_second_frame() -> None:
    assert match(frames(4, 12), frames(8, 24)).partners == {0: 0, 1: 2, 2: 4, 3: 6}
    assert match(frames(8, 24), frames(4, 12)).partners == {0: 0, 2: 1, 4: 2, 6: 3}
    assert "matched by time: 4 pairs" in match(frames(4, 12), frames(8, 24)).said


def test_frames_that_last_unlike_long_are_matched_by_when_they_begin() -> None:
    made = [Timing(0, 0.0, 0.5), Timing(1, 0.5, 0.1)]
    assert match(made, frames(6, 10)).partners == {0: 0, 1: 5}


def test_clips_of_unlike_length_are_refused_with_what_to_do() -> None:
    with pytest.raises(
        UserError, match=r"made.mp4 has 4 frames in 0.50 seconds and given.mp4 24 frames in 1.00.*--shortest"
    ):
        match(frames(4, 8), frames(24, 24))
    cut = match(frames(4, 8), frames(24, 24), shortest=True)
    assert cut.partners == {0: 0, 1: 3, 2: 6, 3: 9}
    assert match(frames(24, 24), frames(4, 8), shortest=True).partners == {0: 0, 3: 1, 6: 2, 9: 3}


@given(
    made=st.tuples(st.integers(1, 40), st.sampled_from([8.0, 12.0, 23.976, 25.0, 30.0, 60.0])),
    other=st.tuples(st.integers(1, 40), st.sampled_from([8.0, 12.0, 23.976, 25.0, 30.0, 60.0])),
)
def test_partners_ascend_and_exist(made: tuple[int, float], other: tuple[int, float]) -> None:
    found = match(frames(*made), frames(*other), shortest=True).partners
    for (place, partner), (after, next_partner) in pairwise(found.items()):
        assert place < after
        assert partner < next_partner
    assert set(found) <= set(range(made[0]))
    assert set(found.values()) <= set(range(other[0]))
    assert found
