import numpy as np
import pytest

from masactrl_video.poses.detectors.part_affinity import find_peaks


def bump(*centres, shape=(20, 30)):
    rows, columns = np.indices(shape)
    bumps = [height * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 4) for x, y, height in centres]
    return np.sum(bumps, axis=0).astype(np.float32)


def test_peaks_are_found_between_the_cells():
    (peak,) = find_peaks(bump((12.3, 7.6, 0.8)), 0.1)
    np.testing.assert_allclose(peak[:2], [12.3, 7.6], atol=0.05)


def test_peaks_on_the_border_stay_within_half_a_cell():
    (peak,) = find_peaks(bump((0, 19, 0.8)), 0.1)
    np.testing.assert_allclose(peak[:2], [0, 19], atol=0.5)


def test_every_peak_above_the_threshold_is_found():
    peaks = find_peaks(bump((5, 5, 0.8), (20, 15, 0.5), (25, 3, 0.05)), 0.1)
    assert sorted(np.rint(peaks[:, 0])) == [5, 20]


@pytest.mark.parametrize("level", [0.0, 0.05])
def test_a_quiet_map_has_no_peaks(level):
    assert find_peaks(np.full((20, 30), level, np.float32), 0.1).shape == (0, 3)
