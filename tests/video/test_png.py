from pathlib import Path

import numpy as np
import pytest

from masactrl_video.errors import UserError
from masactrl_video.video.png import read_png, read_png_text, write_png

IMAGE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def test_picture_and_text_come_back(tmp_path: Path) -> None:
    text = {"prompt": "ein Bär, 走る", "seed": "7"}
    write_png(tmp_path / "a.png", IMAGE, text)
    assert np.array_equal(read_png(tmp_path / "a.png"), IMAGE)
    assert read_png_text(tmp_path / "a.png") == text


def test_a_failed_write_keeps_the_old_picture_and_leaves_nothing_behind(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", IMAGE)
    with pytest.raises(ValueError, match="latin-1"):
        write_png(tmp_path / "a.png", 255 - IMAGE, {"走": "no keyword that PNG allows"})
    assert np.array_equal(read_png(tmp_path / "a.png"), IMAGE)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_other_arrays_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        write_png(tmp_path / "a.png", IMAGE[..., 0])


def test_what_is_no_png_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(UserError, match="not a PNG"):
        read_png(tmp_path / "a.png")
    with pytest.raises(UserError, match="no such picture"):
        read_png(tmp_path / "b.png")
