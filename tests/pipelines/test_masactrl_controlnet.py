"""The custom pipeline `pipelines/masactrl_controlnet`, loaded with `custom_pipeline=`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def results(model_folder: Path, results_of: Callable[..., dict[str, Any]], tmp_path_factory: Any) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("controlnet")
    controlnet = tiny_models.controlnet(tiny_models.sd1_unet())
    controlnet.save_pretrained(folder)
    return results_of("run_masactrl_controlnet.py", model_folder, folder)


def test_images_equal_use_source_by_hand(results: dict[str, Any]) -> None:
    assert results["pipeline"].shape == (3, 4, 8, 8)
    np.testing.assert_array_equal(results["pipeline"], results["by hand"])


def test_every_image_follows_its_own_control_image(results: dict[str, Any]) -> None:
    assert np.abs(results["pipeline"][1] - results["pipeline"][2]).max() > 1e-3


def test_the_source_is_the_plain_pipelines_picture_and_the_targets_are_not(results: dict[str, Any]) -> None:
    np.testing.assert_array_equal(results["pipeline"][0], results["plain"][0])
    assert np.abs(results["plain"] - results["pipeline"])[1:].max() > 1e-3, "control changes nothing"


def test_control_that_would_never_act_is_refused(results: dict[str, Any]) -> None:
    assert "masa_step: none of the 3 denoising steps is controlled" in str(results["no control"])


def test_processors_are_restored(results: dict[str, Any]) -> None:
    assert results["restored"]


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("one image", "image: got Image; give a list with a control image for each target"),
        ("too many prompts", "prompt: got 3 for 2 control images; give one, or one for each"),
    ],
)
def test_wrong_arguments_are_named(results: dict[str, Any], case: str, expected: str) -> None:
    assert str(results[case]) == expected
