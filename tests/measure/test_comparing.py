"""Several clips: who wins, how sure that is, and who cannot win."""

import math
from pathlib import Path

import numpy as np
import pytest

from masactrl_video.measure.comparing import Row, compare_measured, paired_interval
from masactrl_video.measure.definitions import DEFINITIONS
from masactrl_video.measure.figure import Definition, Figure, Floats, Measured

FRAMES = np.arange(40)


def figure(name: str, curve: Floats | list[float]) -> Figure:
    return Figure(DEFINITIONS[name], np.arange(len(curve)), np.asarray(curve, np.float64))


def clip(label: str, *figures: Figure) -> Measured:
    return Measured(label, Path(label), 40, 64, 64, 24.0, figures)


def only_row(*clips: Measured, name: str = "kept-ssim") -> Row:
    return next(row for row in compare_measured(clips) if row.about.name == name)


def test_the_best_wins_and_the_interval_holds_the_known_difference() -> None:
    common = np.random.default_rng(1).normal(0.8, 0.1, 40)
    noise = np.random.default_rng(2).normal(0, 0.005, 40)
    row = only_row(clip("a", figure("kept-ssim", common)), clip("b", figure("kept-ssim", common + 0.02 + noise)))
    assert (row.winner, row.runner_up, row.is_clear) == (1, 0, True)
    assert row.interval is not None
    assert row.interval[0] < 0.02 < row.interval[1]
    assert row.interval[1] - row.interval[0] < 0.01  # paired: what both clips share is no doubt


def test_the_interval_is_the_same_at_each_run_and_holds_0_for_noise() -> None:
    one, other = (figure("kept-ssim", np.random.default_rng(seed).normal(0.8, 0.1, 40)) for seed in (1, 2))
    assert paired_interval(one, other) == paired_interval(one, other)
    assert paired_interval(one, other) != paired_interval(one, other, seed=1)
    low, high = paired_interval(one, other) or (math.nan, math.nan)
    assert low < 0 < high


def test_doing_nothing_does_not_win() -> None:
    nothing = clip("copy", figure("kept-ssim", [1.0] * 5), figure("edit-strength", [0.5] * 5))
    edited = clip("edit", figure("kept-ssim", [0.9] * 5), figure("edit-strength", [30.0] * 5))
    row = only_row(nothing, edited)
    assert row.winner == 1
    assert "copy is out: nothing was edited" in row.said
    assert only_row(nothing, edited, name="edit-strength").winner is None
    assert only_row(nothing, nothing).winner is None


@pytest.mark.parametrize(("name", "values", "winner"), [
    ("kept-mse", (0.2, 0.1), 1),
    ("colour-drift", (-0.1, 0.5), 0),
    ("colour-drift", (0.5, -0.6), 0),
    ("kept-psnr", (math.inf, 30), 0),
    ("dynamic-degree", (1, 0), None),
    ("kept-ssim", (0.5, 0.5), None),
    ("kept-ssim", (0.5, math.nan), None),
])  # fmt: skip
def test_better_is_what_the_definition_says(name: str, values: tuple[float, float], winner: int | None) -> None:
    row = only_row(*(clip(str(at), figure(name, [value] * 4)) for at, value in enumerate(values)), name=name)
    assert row.winner == winner


def test_of_drifts_their_sizes_are_compared() -> None:
    def drifting(slope: float) -> Figure:
        about, samples = DEFINITIONS["colour-drift"], np.stack([FRAMES, slope * FRAMES], axis=1)
        return Figure(about, FRAMES, samples[:, 1], samples, reduce=lambda rows: float(np.polyfit(*rows.T, 1)[0]))

    row = only_row(clip("a", drifting(-0.1)), clip("b", drifting(0.5)), name="colour-drift")
    assert row.interval == pytest.approx((-0.4, -0.4))
    assert (row.winner, row.is_clear) == (0, True)


def test_clips_of_other_frames_have_no_interval() -> None:
    row = only_row(clip("a", figure("kept-ssim", [0.5] * 9)), clip("b", figure("kept-ssim", [0.6] * 8)))
    assert (row.winner, row.interval, row.is_clear) == (1, None, False)
    missing = only_row(clip("a"), clip("b", figure("kept-ssim", [0.6] * 8)))
    assert math.isnan(missing.values[0])


def test_every_definition_says_what_it_is() -> None:
    for name, about in DEFINITIONS.items():
        assert name == about.name
        for text in (about.title, about.formula, about.source, about.not_said):
            assert text


def test_a_value_that_is_none_is_shown_as_such() -> None:
    about: Definition = DEFINITIONS["kept-psnr"]
    assert (about.text(math.nan), about.text(math.inf), about.text(31.2345)) == ("none", "∞ dB", "31.23 dB")
