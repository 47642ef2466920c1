"""Colours against the source: known ΔE, known slope, known spread."""

import numpy as np
import pytest
from measure.made_frames import measured, moments_of, plain, texture
from skimage.color import rgb2lab

from masactrl_video.measure.colour import Colour, delta_e, mean_colour, slope

SHARMA = [
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.694), (23.0331, 14.973, -42.5619), 2.0373),
]
"""Of the table of Sharma, Wu and Dalal 2005: two colours and their CIEDE2000."""


@pytest.mark.parametrize(("first", "second", "expected"), SHARMA)
def test_delta_e_is_that_of_the_published_table(first: tuple, second: tuple, expected: float) -> None:  # type: ignore[type-arg]
    assert delta_e(np.array(first), np.array(second)) == pytest.approx(expected, abs=5e-5)


def test_the_colour_of_one_colour_is_its_own() -> None:
    found = mean_colour(plain((200, 30, 90)))
    assert found == pytest.approx(rgb2lab(np.array([200, 30, 90]) / 255), abs=1e-9)


def test_the_mean_is_of_light_not_of_levels() -> None:
    half = plain(0)
    half[:16] = 255
    found = mean_colour(half)
    assert found is not None
    assert found[0] == pytest.approx(116 * 0.5 ** (1 / 3) - 16, abs=1e-3)  # CIE 1976 of half the light of white


def test_a_known_drift_has_its_slope_spread_and_distance() -> None:
    source, levels = plain((120, 60, 60)), [120, 124, 128, 134, 140]
    frames = [plain((level, 60, 60)) for level in levels]
    known = [
        delta_e(rgb2lab(np.array([120, 60, 60]) / 255), rgb2lab(np.array([level, 60, 60]) / 255)) for level in levels
    ]
    found = measured(Colour(source), moments_of(frames))
    assert found["colour-distance"].value == pytest.approx(np.mean(known), abs=1e-6)
    assert found["colour-drift"].value == pytest.approx(100 * np.polyfit(range(5), known, 1)[0], abs=1e-6)
    assert found["colour-spread"].value == pytest.approx(np.std(known), abs=1e-6)
    assert found["colour-drift"].notes == ()


def test_regions_are_looked_at_apart() -> None:
    mask = np.zeros((32, 32), bool)
    mask[:16] = True
    source = plain((90, 90, 90))
    frames = [source.copy() for _ in range(3)]
    for at, frame in enumerate(frames):
        frame[16:] += np.uint8(10 * at)
    found = measured(Colour(source, mask), moments_of(frames, mask=mask))
    assert found["colour-distance"].value == found["colour-drift"].value == 0
    assert found["colour-drift-background"].value > 0


def test_without_a_source_or_its_region_the_first_frame_stands_in() -> None:
    frames = [plain(100), plain(100)]
    for meter, mask in ((Colour(None), None), (Colour(texture()), np.eye(32) > 0)):
        found = measured(meter, moments_of(frames, mask=mask))
        assert found["colour-distance"].value == 0
        assert "first frame" in found["colour-distance"].notes[0]


def test_the_slope_of_one_frame_is_0() -> None:
    assert slope(np.array([[3.0, 5.0], [3.0, 6.0]])) == 0
