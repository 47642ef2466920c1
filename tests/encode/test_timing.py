from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masactrl_video.encode.timing import Ticks, constant_rate, plan_ticks


@pytest.mark.parametrize(
    ("durations", "rate"),
    [
        ([1001 / 24000] * 300, Fraction(24000, 1001)),
        ([0.033, 0.034, 0.033] * 100, Fraction(30)),
        ([0.25] * 3, Fraction(4)),
        ([5 * 1001 / 24000] * 40, Fraction(4800, 1001)),
        ([2.5] * 3, Fraction(2, 5)),
        ([0.04] * 10 + [0.05], None),
    ],
)
def test_the_plainest_rate_is_found(durations: list[float], rate: Fraction | None) -> None:
    assert constant_rate(durations) == rate


@given(st.lists(st.floats(0.011, 2), min_size=1, max_size=200))
def test_ticks_never_drift(durations: list[float]) -> None:
    ticks = plan_ticks(durations, 100, keeps_any_rate=False)
    assert all(tick >= 1 for tick in ticks.durations)
    for n in range(1, len(durations) + 1):
        assert sum(ticks.durations[:n]) / 100 == pytest.approx(sum(durations[:n]), abs=0.0051)


@pytest.mark.parametrize(
    ("ticks", "shown"),
    [
        ((2, 3, 2), (2, 3, 2)),
        ((2, 1, 2, 2, 1, 2), (2, 2, 2, 2, 2, 0)),  # 60 frames/s
        ((1,) * 6, (2, 2, 0, 2, 0, 0)),  # 100 frames/s
        ((4, 1, 4), (4, 2, 3)),
        ((4, 1), (5, 0)),
        ((1,), (1,)),  # a single frame does not move
    ],
)
def test_no_frame_is_shorter_than_players_show(ticks: tuple[int, ...], shown: tuple[int, ...]) -> None:
    assert Ticks(Fraction(100), ticks).at_least(2).durations == shown


@given(st.lists(st.integers(1, 9), min_size=2, max_size=200), st.integers(2, 4))
def test_lengthened_frames_come_in_time_and_last_as_long_together(durations: list[int], least: int) -> None:
    before = Ticks(Fraction(100), tuple(durations))
    after = before.at_least(least)
    assert after.seconds == before.seconds
    assert all(duration >= least for duration in after.shown) or len(after.shown) == 1
    late = [
        sum(after.durations[:n]) - sum(durations[:n]) for n, duration in enumerate(after.durations) if duration and n
    ]
    assert all(0 <= ticks < least for ticks in late)
