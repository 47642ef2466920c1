"""The custom pipeline `pipelines/masactrl`, loaded with `custom_pipeline=`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="module")
def results(model_folder: Path, results_of: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return results_of("run_masactrl.py", model_folder)


@pytest.mark.parametrize("case", ["guided", "unguided", "masked"])
def test_images_equal_use_source_by_hand(results: dict[str, Any], case: str) -> None:
    assert results[case].shape == (3, 64, 64, 3)
    np.testing.assert_array_equal(results[case], results[f"{case} by hand"])


def test_a_source_that_queries_itself_is_the_plain_pipelines_picture(results: dict[str, Any]) -> None:
    np.testing.assert_array_equal(results["itself"][0], results["plain"][0])
    np.testing.assert_allclose(results["itself"], results["plain"], atol=1e-4)


def test_control_that_would_never_act_is_refused_before_anything_is_made(results: dict[str, Any]) -> None:
    assert "masa_step: none of the 3 denoising steps is controlled" in str(results["no control"])


def test_targets_depend_on_source_and_mode(results: dict[str, Any]) -> None:
    assert np.abs(results["guided"] - results["masked"])[1:].max() > 1e-4
    np.testing.assert_array_equal(results["guided"][0], results["masked"][0])


def test_without_generator_the_global_seed_decides(results: dict[str, Any]) -> None:
    np.testing.assert_array_equal(results["global seed"], results["global seed again"])


def test_output_as_pil_tuple(results: dict[str, Any]) -> None:
    np.testing.assert_allclose(results["pil"][0] / 255, results["guided"][0], atol=0.5 / 255 + 1e-6)
    assert results["no flags"]


def test_processors_are_restored_also_after_an_exception(results: dict[str, Any]) -> None:
    assert results["raised"] == "in the middle of a step"
    assert results["restored"]


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("bad mode", "attention_mode: got 'soft'; give source, union, masked"),
        ("words without masks", "mask_words: give the words of the object in attention_mode masked, and only there"),
        ("masks without words", "mask_words: give the words of the object in attention_mode masked, and only there"),
        ("word not in prompt", "mask_words: 'bear' is not in the prompt 'a panda in the snow'"),
    ],
)
def test_wrong_arguments_are_named(results: dict[str, Any], case: str, expected: str) -> None:
    assert str(results[case]).startswith(expected)
