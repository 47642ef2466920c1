import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masactrl_video.errors import UserError
from masactrl_video.video.fit import Fit, FitMode, plan_fit


def plan(width: int, height: int, mode: FitMode = "crop", target: tuple[int | None, int | None] = (None, None)) -> Fit:
    return plan_fit(
        *(width, height),
        mode=mode,
        target_width_px=target[0],
        target_height_px=target[1],
        size_factor=8,
        native_area_px=512 * 512,
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [((1084, 1080), (512, 512)), ((1920, 1080), (680, 384)), ((640, 480), (584, 440)), ((426, 240), (680, 384))],
)
def test_without_a_target_shape_and_native_area_are_kept(source: tuple[int, int], expected: tuple[int, int]) -> None:
    fit = plan(*source)
    assert (fit.width_px, fit.height_px) == expected


def test_the_other_side_follows_a_given_one() -> None:
    assert plan(1920, 1080, target=(512, None)).height_px == 288
    assert plan(1920, 1080, target=(None, 288)).width_px == 512


@pytest.mark.parametrize(("side", "nearest"), [(515, "512 or 520"), (3, "8"), (0, "8"), (-8, "8")])
def test_a_side_that_is_no_multiple_is_refused_with_the_nearest(side: int, nearest: str) -> None:
    with pytest.raises(UserError, match=f"nearest: {nearest}$"):
        plan(100, 100, target=(side, None))


def test_unknown_mode_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(UserError, match="crop, pad, resize"):
        plan(100, 100, mode="stretch")  # type: ignore[arg-type]


def test_descriptions_say_what_happens() -> None:
    assert plan(1084, 1080, target=(512, 512)).describe() == (
        "1084x1080 → 512x512, crop: scaled by 0.474, 1 px cut left, 1 px cut right"
    )
    assert plan(96, 64, "pad", (64, 64)).describe() == (
        "96x64 → 64x64, pad: scaled by 0.667, 10 px black above, 11 px black below"
    )
    assert plan(96, 64, "resize", (64, 64)).describe() == (
        "96x64 → 64x64, resize: scaled by 0.667 across and 1.000 down"
    )
    assert plan(512, 512).describe() == "512x512 → 512x512, crop: not scaled"


def test_a_frame_that_fits_already_is_unchanged() -> None:
    image = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    assert np.array_equal(plan(512, 512).apply(image), image)


def test_padding_is_black_and_around_the_whole_picture() -> None:
    fitted = plan(96, 64, "pad", (64, 64)).apply(np.full((64, 96, 3), 255, np.uint8))
    assert np.flatnonzero(fitted.max(axis=(1, 2))).tolist() == list(range(10, 53))


def test_cropping_leaves_no_black_edge() -> None:
    assert plan(97, 64, "crop", (64, 64)).apply(np.full((64, 97, 3), 255, np.uint8)).min() == 255


def test_a_frame_of_another_size_than_planned_is_refused() -> None:
    with pytest.raises(ValueError, match="planned for"):
        plan(96, 64).apply(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("mode", ["crop", "pad", "resize"])
@pytest.mark.parametrize(("width", "height"), [(320, 200), (100, 230)])
def test_points_move_with_the_picture(mode: FitMode, width: int, height: int) -> None:
    x, y, radius = width // 2 + 17, height // 2 - 23, 7
    image = np.zeros((height, width, 3), np.uint8)
    image[y - radius : y + radius + 1, x - radius : x + radius + 1] = 255
    fit = plan(width, height, mode, (160, 192))
    weights = fit.apply(image)[..., 0].astype(float)
    rows, columns = np.indices(weights.shape)
    found = [(columns * weights).sum() / weights.sum(), (rows * weights).sum() / weights.sum()]
    assert fit.apply_points(np.array([[x, y]]))[0] == pytest.approx(found, abs=0.1)


@given(
    width=st.integers(1, 4000),
    height=st.integers(1, 4000),
    factor=st.sampled_from([8, 16, 32, 64]),
    mode=st.sampled_from(["crop", "pad", "resize"]),
)
def test_any_frame_gets_a_size_that_the_model_takes(width: int, height: int, factor: int, mode: FitMode) -> None:
    fit = plan_fit(
        *(width, height),
        mode=mode,
        target_width_px=None,
        target_height_px=None,
        size_factor=factor,
        native_area_px=512 * 512,
    )
    assert fit.width_px % factor == fit.height_px % factor == 0 < fit.width_px * fit.height_px
    covers = fit.scaled_width_px >= fit.width_px and fit.scaled_height_px >= fit.height_px
    fits_inside = fit.scaled_width_px <= fit.width_px and fit.scaled_height_px <= fit.height_px
    assert {"crop": covers, "pad": fits_inside, "resize": covers and fits_inside}[mode]
