"""The figures of the demo model, on one held-out character: which way they point, not how good they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from masactrl_video.errors import UserError
from masactrl_video.evaluate.evaluate import evaluate
from masactrl_video.video.png import read_png

pytestmark = pytest.mark.long

WAYS = ("with", "without")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    written = tmp_path_factory.mktemp("evaluated") / "figures"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("masactrl_video.evaluate.evaluate._TARGETS", 1)
        evaluate(written, model="demo", cases=1, world="small", curves=False, overwrite=False)
    return written


@pytest.fixture(scope="module")
def values(folder: Path) -> dict[str, list[float]]:
    loaded: dict[str, list[float]] = json.loads((folder / "values.json").read_text())
    return loaded


def test_the_demo_model_follows_pose_and_caption(values: dict[str, list[float]]) -> None:
    for name in ("keypoints with", "keypoints adapter"):
        assert np.mean(values[name]) > 0.8
    named = [np.mean(values[f"caption: {name}"]) for name in ("species", "shirt", "trousers", "scene")]
    assert np.mean(named) >= 0.75


def test_masks_separate_the_figure_from_the_ground(values: dict[str, list[float]]) -> None:
    assert np.mean(values["masks"]) > 0.6


def test_inversion_brings_back_what_the_autoencoder_can(values: dict[str, list[float]]) -> None:
    assert np.mean(values["inversion"]) > np.mean(values["autoencoder"]) - 0.5 > 26


def test_the_character_is_nearer_to_the_source_with_it_than_without(values: dict[str, list[float]]) -> None:
    for source in ("", " real source"):
        assert np.mean(values[f"error with{source}"]) < np.mean(values[f"error without{source}"])
        rest = [np.subtract(values[f"error {way}{source}"], values[f"drawing {way}{source}"]) for way in WAYS]
        assert np.mean(rest[0]) < 0.7 * np.mean(rest[1])


def test_the_table_has_every_figure_with_its_target(folder: Path) -> None:
    table = (folder / "figures.md").read_text()
    rows = [line for line in table.split("\n\n")[1].splitlines() if line.startswith("| ")]
    assert len(rows) == 17  # 15 figures under two lines of heading
    assert all(row.rstrip("| ").endswith(("yes", "no")) for row in rows[2:])


def test_the_sheet_shows_five_pictures(folder: Path) -> None:
    assert read_png(folder / "sheet.png").shape[1] > 5 * 128


def test_files_that_are_there_are_not_replaced_unasked(folder: Path) -> None:
    with pytest.raises(UserError, match="--overwrite"):
        evaluate(folder, model="demo", cases=1, world="small", curves=False, overwrite=False)


def test_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a model of the cartoon world"):
        evaluate(tmp_path / "out", model=str(tmp_path), cases=1, world="small", curves=False, overwrite=False)
    assert not (tmp_path / "out").exists()
