"""The figures of the demo's transformer, on one held-out character: which way they point, not how good they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from masactrl_video.evaluate.evaluate import evaluate

pytestmark = pytest.mark.long

Values = dict[str, list[float]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    written = tmp_path_factory.mktemp("evaluated") / "figures"
    evaluate(written, model="demo-dit", cases=1, world="small", curves=False, overwrite=False)
    return written


@pytest.fixture(scope="module")
def values(folder: Path) -> Values:
    loaded: Values = json.loads((folder / "values.json").read_text())
    return loaded


def test_it_follows_pose_and_caption(values: Values) -> None:
    assert np.mean(values["keypoints with"]) > 0.8
    assert np.mean([np.mean(values[f"caption: {name}"]) for name in ("species", "shirt", "trousers", "scene")]) >= 0.75


def test_its_character_is_nearer_to_the_source_with_it_than_without(values: Values) -> None:
    rest = [np.subtract(values[f"error {way}"], values[f"drawing {way}"]) for way in ("with", "without")]
    assert np.mean(rest[0]) < 0.7 * np.mean(rest[1])
    assert np.mean(values["error with real source"]) < 0.95 * np.mean(values["error without real source"])


def test_it_brings_back_a_real_picture(values: Values) -> None:
    assert np.mean(values["inversion"]) > np.mean(values["autoencoder"]) - 1 > 26


def test_a_model_without_adapters_has_a_table_without_them(values: Values, folder: Path) -> None:
    assert "keypoints adapter" not in values
    assert "T2I-Adapter" not in (folder / "figures.md").read_text()
