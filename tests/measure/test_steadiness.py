"""Warp error, flicker and seams against values by hand and against the published formulas."""

from itertools import pairwise

import numpy as np
import pytest
from measure.made_frames import measured, moments_of, noisy, plain, rolled, texture
from scipy.ndimage import map_coordinates

from masactrl_video.measure.flow import DisFlow, Flow, Warp, occluded, warp_error
from masactrl_video.measure.moments import Picture
from masactrl_video.measure.motion import DynamicDegree, fastest
from masactrl_video.measure.steadiness import Flicker, WarpError


class Known:
    """A flow that is known."""

    about = "known"

    def __init__(self, forward: Flow, backward: Flow | None = None) -> None:
        self.flows = [forward, -forward if backward is None else backward]
        self.asked = 0

    def __call__(self, first: Picture, second: Picture) -> Flow:
        self.asked += 1
        return self.flows[(self.asked - 1) % 2]


def constant(right: float, down: float, height: int = 48, width: int = 64) -> Flow:
    return np.broadcast_to(np.array([right, down], np.float32), (height, width, 2)).copy()


def lai_warp(values: np.ndarray, flow: np.ndarray) -> np.ndarray:
    height, width = flow.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(float)
    places = [rows + flow[..., 1], columns + flow[..., 0]]
    channels = [map_coordinates(values[..., c], places, order=1, mode="nearest") for c in range(values.shape[-1])]
    return np.stack(channels, axis=-1)


def lai_occlusion(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """Pixel by pixel, as in the published `detect_occlusion(bw_flow, fw_flow)`."""
    moved = lai_warp(backward, forward)
    height, width = forward.shape[:2]
    hidden = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            w, f = moved[y, x], forward[y, x]
            length = f @ f
            hidden[y, x] = (w + f) @ (w + f) > 0.01 * (w @ w + length) + 0.5
            across = forward[y, x] - forward[y, x + 1] if x + 1 < width else np.zeros(2)
            down = forward[y, x] - forward[y + 1, x] if y + 1 < height else np.zeros(2)
            hidden[y, x] |= across @ across + down @ down > 0.01 * length + 0.002
    return hidden


def lai_error(first: np.ndarray, second: np.ndarray, flow: np.ndarray, hidden: np.ndarray) -> float:
    seen = np.repeat(~hidden[..., None], 3, axis=2).astype(float)
    difference = (lai_warp(second / 255, flow) - first / 255) * seen
    return float((difference**2).sum() / (seen.sum() or seen.size))


@pytest.mark.parametrize("seed", range(3))
def test_warp_error_and_occlusion_are_lais(seed: int) -> None:
    rng = np.random.default_rng(seed)
    forward, backward = (
        np.float32(texture(24, 31, seed=int(rng.integers(99)), blur=6)[..., :2] / 600.0) for _ in range(2)
    )
    forward[8:14, 9:20] += 1
    hidden = occluded(forward, backward)
    assert np.array_equal(hidden, lai_occlusion(forward.astype(float), backward.astype(float)))
    assert 0.05 < hidden.mean() < 0.95
    first, second = texture(24, 31, seed=5), texture(24, 31, seed=6)
    expected = lai_error(first, second, forward.astype(float), hidden)
    assert warp_error(first, second, Warp(forward), hidden) == pytest.approx(expected, abs=1e-7)


def test_what_moves_as_the_input_has_no_warp_error() -> None:
    clip = rolled(texture(), 3)
    found = measured(WarpError(Known(constant(2, 0))), moments_of(clip, clip))["warp-error"]
    inside = Warp(constant(2, 0))(clip[1])[:, :-2]
    assert np.array_equal(inside, clip[0][:, :-2])
    edge = np.square((clip[1][:, -1:] - clip[0][:, -2:].astype(float)) / 255).sum() / clip[0].size
    assert found.curve[0] == pytest.approx(
        edge, abs=1e-12
    )  # what leaves the picture is compared with its edge, as published


def test_brightness_that_jumps_is_a_warp_error_of_its_square() -> None:
    clip = [plain(100), plain(110), plain(100)]
    still = Known(constant(0, 0, 32, 32))
    found = measured(WarpError(still), moments_of(clip, [plain(90)] * 3))["warp-error"]
    assert found.value == pytest.approx((10 / 255) ** 2, abs=1e-12)
    assert "the input's own: 0.00000" in found.notes


def test_a_known_occlusion_is_left_out() -> None:
    forward, backward = constant(0, 0, 32, 32), constant(0, 0, 32, 32)
    forward[10:20, 10:20] = 3  # a square goes where the way back does not lead from
    hidden = occluded(forward, backward)
    assert hidden[10:20, 10:20].all()
    edge = np.zeros((32, 32), bool)
    edge[9, 10:20] = edge[10:20, 9] = True
    assert np.array_equal(hidden, edge | (forward[..., 0] > 0))
    made = plain(50)
    made[hidden] = 250
    assert warp_error(plain(50), made, Warp(constant(0, 0, 32, 32)), hidden) == 0


def test_where_all_is_hidden_the_error_is_0() -> None:
    assert warp_error(plain(0), plain(255), Warp(constant(0, 0, 32, 32)), np.ones((32, 32), bool)) == 0


def test_dis_finds_a_translation_within_a_tenth_of_a_pixel() -> None:
    first, second = rolled(texture(96, 128, blur=3), 2, step_px=3)
    flow = DisFlow()(first, second)
    assert np.abs(flow[12:-12, 12:-12] - [3, 0]).max() < 0.1
    found = measured(WarpError(DisFlow()), moments_of([first, second], [first, second]))["warp-error"]
    assert found.value < 1e-3


def test_flicker_is_vbenchs() -> None:
    clip = [texture(seed=seed) for seed in range(4)]
    steps = [np.mean(np.abs(np.float32(one) - np.float32(other))) for one, other in pairwise(clip)]
    found = measured(Flicker(), moments_of(clip))["temporal-flickering"]
    assert found.value == pytest.approx((255.0 - float(np.mean(steps))) / 255.0, abs=1e-6)


def test_a_known_flicker_has_its_value_by_hand() -> None:
    found = measured(Flicker(), moments_of([plain(100), plain(106), plain(100), plain(106)]))
    assert found["temporal-flickering"].value == pytest.approx(249 / 255, abs=1e-12)
    assert "loop-seam" not in found


def test_a_loop_that_closes_has_no_seam_and_one_that_does_not_has_its_jump() -> None:
    around = rolled(texture(width=64), 32, step_px=2)
    assert measured(Flicker(loop=True), moments_of(around))["loop-seam"].value == pytest.approx(0, abs=1e-9)
    rising = measured(Flicker(loop=True), moments_of([plain(level) for level in (100, 102, 104, 106)]))
    assert rising["loop-seam"].value == pytest.approx(6 - 2, abs=1e-12)
    still = measured(Flicker(loop=True), moments_of([plain(9)] * 3))
    assert (still["loop-seam"].value, still["temporal-flickering"].value) == (0, 1)


def vbench_moves(flows: list[np.ndarray], shorter_px: int, frames: int) -> bool:
    """The published `check_move`, for 8 frames a second or more."""
    count = 0
    for flow in flows:
        radius = np.sqrt(np.square(flow[..., 0]) + np.square(flow[..., 1])).flatten()
        fast = np.mean(abs(np.sort(-radius))[: int(radius.size * 0.05)])
        if fast > 6.0 * (shorter_px / 256.0):
            count += 1
        if count >= round(4 * (frames / 16.0)):
            return True
    return False


@pytest.mark.parametrize("moving_pairs", [0, 1, 2, 3, 8])
def test_dynamic_degree_is_vbenchs(moving_pairs: int) -> None:
    bound_px = 6 * 32 / 256
    lengths = [bound_px * 1.5] * moving_pairs + [bound_px / 2] * (8 - moving_pairs)
    flows = [constant(length, 0, 32, 32) for length in lengths]
    finder = iter(flows)

    class Next:
        about = "known"

        def __call__(self, first: Picture, second: Picture) -> Flow:
            return next(finder)

    found = measured(DynamicDegree(Next(), 8.0), moments_of([plain(0)] * 9))["dynamic-degree"]
    assert found.value == vbench_moves(flows, 32, 9)
    assert found.curve == pytest.approx([length / bound_px for length in lengths], abs=1e-6)


def test_dynamic_degree_looks_at_eight_frames_a_second() -> None:
    meter = DynamicDegree(Known(constant(9, 0, 32, 32), constant(9, 0, 32, 32)), 24.0)
    found = measured(meter, moments_of([plain(0)] * 10))["dynamic-degree"]
    assert found.frames.tolist() == [0, 3, 6]


def test_the_fastest_twentieth_counts() -> None:
    flow = constant(0, 0, 20, 20)
    flow.reshape(-1, 2)[:20] = (3, 4)
    assert fastest(flow) == 5.0


def test_noise_makes_neighbours_unlike() -> None:
    clip = [noisy(plain(128), 5, seed) for seed in range(4)]
    assert measured(Flicker(), moments_of(clip))["temporal-flickering"].value < 1
