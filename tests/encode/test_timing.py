from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masactrl_video.encode.timing import constant_rate, plan_ticks


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
