import numpy as np
import pytest
from scipy.signal import savgol_filter

from masactrl_video.errors import UserError
from masactrl_video.poses.repair import fill_gaps, smooth_points


def wave(frames: int = 80, *, noise_px: float = 0) -> np.ndarray:
    """One keypoint (frames, 1, 3) on a slow curve, with a confidence of 0.5."""
    time = np.arange(frames)
    xy = np.stack([100 + 60 * np.sin(time / 12), 200 + 40 * np.cos(time / 17)], axis=1)
    xy += np.random.default_rng(0).normal(0, noise_px, xy.shape) if noise_px else 0
    return np.concatenate([xy, np.full((frames, 1), 0.5)], axis=1)[:, None]


def jerk(points: np.ndarray) -> float:
    return float(np.abs(np.diff(points[:, 0, :2], n=2, axis=0)).mean())


def test_jitter_becomes_less_and_the_motion_stays() -> None:
    noisy = wave(noise_px=2)
    smoothed = smooth_points(noisy, 11)
    assert jerk(smoothed) < jerk(noisy) / 5
    assert np.abs(smoothed - wave()).mean() < 0.6 * np.abs(noisy - wave()).mean()
    np.testing.assert_array_equal(smoothed[..., 2], noisy[..., 2])


def test_nothing_is_delayed() -> None:
    noisy = wave(noise_px=1)
    smoothed = smooth_points(noisy, 11)[5:-5, 0, 0]
    errors = {shift: np.abs(smoothed - wave()[5 + shift : 75 + shift, 0, 0]).mean() for shift in range(-4, 5)}
    assert min(errors, key=errors.get) == 0
    np.testing.assert_allclose(smooth_points(noisy[::-1], 11), smooth_points(noisy, 11)[::-1], atol=1e-9)


def test_a_parabola_stays_as_it_is() -> None:
    time = np.arange(20.0)
    points = np.stack([time**2, 3 * time - 7, np.ones(20)], axis=1)[:, None]
    np.testing.assert_allclose(smooth_points(points, 7), points, atol=1e-9)


@pytest.mark.parametrize(("frames", "window"), [(5, 5), (9, 9), (40, 11), (80, 61)])
def test_it_is_the_filter_of_savitzky_and_golay(frames: int, window: int) -> None:
    points = wave(frames, noise_px=3)
    expected = savgol_filter(points[:, 0, :2], window, 2, axis=0, mode="interp")
    np.testing.assert_allclose(smooth_points(points, window)[:, 0, :2], expected, rtol=1e-12, atol=1e-11)


def test_missing_points_stay_missing_and_pull_at_nothing() -> None:
    points = wave(noise_px=2)
    points[30:34] = 0
    smoothed = smooth_points(points, 9)
    assert not smoothed[30:34].any()
    np.testing.assert_allclose(smoothed[:30], smooth_points(points[:30], 9))
    np.testing.assert_allclose(smoothed[34:], smooth_points(points[34:], 9))


def test_a_short_stretch_gets_a_shorter_window_or_none() -> None:
    points = wave(8, noise_px=2)
    np.testing.assert_allclose(smooth_points(points, 21), smooth_points(points, 7))
    np.testing.assert_array_equal(smooth_points(points[:4], 21), points[:4])


@pytest.mark.parametrize("window", [0, 3, 8, -5])
def test_a_window_without_effect_is_refused(window: int) -> None:
    with pytest.raises(UserError, match=f"got {window}"):
        smooth_points(wave(), window)


def test_short_gaps_are_interpolated_over_time_and_long_ones_stay() -> None:
    points = np.zeros((12, 2, 3))
    points[0], points[4], points[11] = (10, 20, 1), (50, 60, 0.5), (120, 130, 1)
    filled = fill_gaps(points, 3)
    np.testing.assert_allclose(filled[1:4, 0], [(20, 30, 0.875), (30, 40, 0.75), (40, 50, 0.625)])
    assert not filled[5:11].any()
    np.testing.assert_allclose(fill_gaps(points, 6)[6, 1, :2], [70, 80])


def test_gaps_at_the_ends_have_one_side_only_and_stay() -> None:
    points = np.zeros((5, 1, 3))
    points[2] = 10, 20, 1
    np.testing.assert_array_equal(fill_gaps(points, 10), points)
