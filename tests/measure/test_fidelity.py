"""What was kept, against values by hand and scikit-image."""

import math

import numpy as np
import pytest
from measure.made_frames import measured, moments_of, noisy, plain, texture
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from masactrl_video.measure.fidelity import Kept, ssim


def test_whole_pictures_have_the_values_of_scikit_image() -> None:
    original = [texture(seed=seed) for seed in range(3)]
    made = [noisy(picture, 12, 9) for picture in original]
    found = measured(Kept(), moments_of(made, original))
    pairs = list(zip(original, made, strict=True))
    assert found["kept-mse"].value == pytest.approx(
        np.mean([mean_squared_error(one / 255, other / 255) for one, other in pairs]), abs=1e-12
    )
    assert found["kept-psnr"].value == pytest.approx(
        np.mean([peak_signal_noise_ratio(one, other, data_range=255) for one, other in pairs]), abs=1e-9
    )
    assert found["kept-ssim"].value == pytest.approx(
        np.mean([of_scikit_image(one, other) for one, other in pairs]), abs=1e-9
    )
    assert "kept-psnr-outside" not in found


def of_scikit_image(first: np.ndarray, second: np.ndarray) -> float:
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(first, second, data_range=255, channel_axis=-1, **options))


def test_with_a_mask_it_is_pie_bench_of_blackened_pictures() -> None:
    original, made = texture(seed=1), noisy(texture(seed=1), 9, 2)
    mask = np.zeros(original.shape[:2], bool)
    mask[10:30, 20:50] = True
    black = [np.where(mask[..., None], 0, picture).astype(np.uint8) for picture in (original, made)]
    found = measured(Kept(), moments_of([made], [original], mask))
    error = np.square(black[0] / 255 - black[1] / 255).mean()
    assert found["kept-mse"].value == pytest.approx(error, abs=1e-12)
    assert found["kept-psnr"].value == pytest.approx(10 * math.log10(1 / error), abs=1e-9)
    assert found["kept-ssim"].value == pytest.approx(of_scikit_image(*black), abs=1e-9)
    outside = np.square((original / 255 - made / 255)[~mask]).mean()
    assert found["kept-psnr-outside"].value == pytest.approx(10 * math.log10(1 / outside), abs=1e-9)
    assert found["kept-psnr-outside"].value < found["kept-psnr"].value
    change = np.abs(original.astype(int) - made)[mask].mean()
    assert found["edit-strength"].value == pytest.approx(change, abs=1e-12)


def test_what_was_edited_inside_the_mask_alone_is_kept_perfectly() -> None:
    mask = np.zeros((32, 32), bool)
    mask[:, 16:] = True
    made = plain(10)
    made[mask] = 200
    found = measured(Kept(), moments_of([made], [plain(10)], mask))
    assert (found["kept-psnr"].value, found["kept-psnr-outside"].value) == (math.inf, math.inf)
    assert (found["kept-ssim"].value, found["kept-mse"].value, found["edit-strength"].value) == (1, 0, 190)


def test_known_levels_have_their_decibels() -> None:
    found = measured(Kept(), moments_of([plain(100)], [plain(110)]))
    assert found["kept-psnr"].value == pytest.approx(20 * math.log10(255 / 10), abs=1e-9)
    assert found["edit-strength"].value == 10


@pytest.mark.parametrize("kind", ["none", "all"])
def test_a_mask_of_nothing_or_of_all_is_measured_too(kind: str) -> None:
    mask = np.full((32, 32), kind == "all")
    found = measured(Kept(), moments_of([plain(10)], [plain(30)], mask))
    assert found["kept-mse"].value == pytest.approx(0 if kind == "all" else (20 / 255) ** 2)
    assert ("edit-strength" in found) == (kind == "all")


def test_a_frame_as_in_the_input_does_not_hide_the_others() -> None:
    found = measured(Kept(), moments_of([plain(100), plain(110)], [plain(100), plain(100)]))["kept-psnr"]
    assert found.value == pytest.approx(20 * math.log10(255 / 10), abs=1e-9)
    assert found.notes == ("1 frame as in the input, left out",)


def test_ssim_of_a_picture_with_itself_is_1() -> None:
    assert ssim(texture(), texture()) == pytest.approx(1, abs=1e-12)
