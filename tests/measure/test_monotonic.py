"""Each figure gets worse as its disturbance grows, and identical clips are perfect."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measure.made_frames import measured, moments_of, noisy, plain, pose, rolled, texture

from masactrl_video.measure.colour import Colour
from masactrl_video.measure.fidelity import Kept
from masactrl_video.measure.figure import Figure
from masactrl_video.measure.flow import DisFlow
from masactrl_video.measure.following import Following
from masactrl_video.measure.learned import SUBJECT, Consistency
from masactrl_video.measure.moments import Moment, Picture
from masactrl_video.measure.steadiness import Flicker, WarpError

Disturbed = Callable[[float, int], dict[str, Figure]]
"""(how much, seed) → figures."""

BASE = rolled(texture(32, 32), 4, step_px=1)


def kept(much: float, seed: int) -> dict[str, Figure]:
    mask = np.zeros((32, 32), bool)
    mask[8:20, 8:20] = True
    return measured(Kept(), moments_of([noisy(one, much, seed + at) for at, one in enumerate(BASE)], BASE, mask))


def warp(much: float, seed: int) -> dict[str, Figure]:
    made = [noisy(one, much, seed + at) for at, one in enumerate(BASE)]
    return measured(WarpError(DisFlow()), moments_of(made, BASE))


def flicker(much: float, seed: int) -> dict[str, Figure]:
    still = np.clip(texture(32, 32, seed=seed), 60, 190).astype(np.float64)
    made = [np.asarray(np.round(still + much * (-1) ** at), np.uint8) for at in range(4)]
    return measured(Flicker(), moments_of(made))


def seam(much: float, seed: int) -> dict[str, Figure]:
    return measured(Flicker(loop=True), moments_of([plain(100 + round(much * at)) for at in range(4)]))


def drift(much: float, seed: int) -> dict[str, Figure]:
    colour = np.random.default_rng(seed).integers(60, 140, 3)
    made = [plain(np.clip(colour + round(much * at), 0, 255)) for at in range(4)]
    return measured(Colour(plain(colour)), moments_of(made))


def turned(much: float, seed: int) -> dict[str, Figure]:
    """Vectors of a network that turn by an angle from frame to frame."""

    def embed(picture: Picture) -> np.ndarray:
        angle = math.radians(much) * float(picture[0, 0, 0])
        return np.array([math.cos(angle), math.sin(angle)])

    meter = Consistency(SUBJECT, embed, "known", neighbours=True)
    return measured(meter, moments_of([plain(at) for at in range(4)]))


def displaced(much: float, seed: int) -> dict[str, Figure]:
    angle = np.random.default_rng(seed).uniform(0, 2 * math.pi)
    found = pose((much * math.cos(angle), much * math.sin(angle)))
    return measured(Following(), [Moment(at, plain(0), wanted=pose(), found=found) for at in range(2)])


DISTURBANCES: dict[str, tuple[Disturbed, tuple[str, ...]]] = {
    "noise, kept": (kept, ("kept-psnr", "kept-psnr-outside", "kept-ssim", "kept-mse")),
    "noise, warped": (warp, ("warp-error",)),
    "flicker": (flicker, ("temporal-flickering",)),
    "a jump at the end": (seam, ("loop-seam",)),
    "drift": (drift, ("colour-distance", "colour-drift", "colour-spread")),
    "another look to a network": (turned, ("subject-consistency", "clip-frames")),
    "displacement": (displaced, ("pose-pck-torso", "pose-pck-head", "pose-oks")),
}


@pytest.mark.parametrize("name", DISTURBANCES)
@settings(max_examples=12)
@given(less=st.integers(0, 12), more=st.integers(1, 12), seed=st.integers(0, 1000))
def test_more_disturbance_is_never_better(name: str, less: int, more: int, seed: int) -> None:
    disturbed, figures = DISTURBANCES[name]
    before, after = disturbed(less, seed), disturbed(less + more, seed)
    for figure in figures:
        about = before[figure].about
        assert not about.is_better(after[figure].value, before[figure].value), figure
        if figure not in ("pose-pck-torso", "pose-pck-head"):  # shares change by whole points
            assert about.is_better(before[figure].value, after[figure].value), figure


@pytest.mark.parametrize("name", [name for name in DISTURBANCES if name != "noise, warped"])
def test_without_a_disturbance_the_value_is_perfect(name: str) -> None:
    disturbed, figures = DISTURBANCES[name]
    found = disturbed(0, 3)
    for figure in figures:
        assert found[figure].value == found[figure].about.perfect, figure
        assert found[figure].worst(3) == []


def test_the_worst_frames_come_first() -> None:
    made: list[Picture] = [noisy(one, much, 5) for one, much in zip(BASE, (0, 9, 3, 30), strict=True)]
    found = measured(Kept(), moments_of(made, BASE))
    assert found["kept-psnr"].worst(2) == found["kept-mse"].worst(2) == [3, 1]
    assert found["kept-ssim"].worst(9) == [3, 1, 2]
