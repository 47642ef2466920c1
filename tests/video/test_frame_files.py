"""Folders with a file for each frame: their order, and what is left out, missing or unclear."""

from __future__ import annotations

from pathlib import Path

import pytest

from masactrl_video.errors import UserError
from masactrl_video.video.frame_files import FrameFiles, frame_files, natural_order, number_names


def listed(folder: Path, *names: str) -> FrameFiles:
    for name in names:
        (folder / name).write_bytes(b"")
    return frame_files(folder, (".png", ".jpg"))


@pytest.mark.parametrize(
    "names",
    [
        ["-0002", "-0001", "00000", "00001"],
        ["shot_-10", "shot_-9", "shot_0", "shot_1"],
        ["frame-002", "frame-001", "frame000", "frame001"],
        ["frame-0001", "frame-0002", "frame-0010"],
        ["frame--2", "frame--1", "frame-0"],
        ["a.-1", "a.0", "a.1"],
        ["2024-01-05", "2024-01-06", "2024-01-10"],
        ["frame_1", "frame_2", "frame_10"],
        ["0001_color", "0002_color", "0010_color"],
        ["take 2 of 10", "take 3 of 10", "take 11 of 10"],
        ["١", "٢", "١٠"],
        ["Bild ８", "bild ９", "Bild １０"],
        ["a", "b", "c"],
        ["99999999999999999999", "100000000000000000000"],
    ],
)
def test_files_come_by_the_value_of_their_numbers(tmp_path: Path, names: list[str]) -> None:
    found = listed(tmp_path, *(f"{name}.png" for name in reversed(names)))
    assert [file.stem for file in found.files] == names
    assert "kinds" not in " ".join(found.remarks)


def test_numbers_below_0_are_said(tmp_path: Path) -> None:
    assert listed(tmp_path, "-0001.png", "0000.png").remarks == ("numbers below 0 come first: -0001.png to 0000.png",)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("1 2 3 5", "the number is missing (4)"),
        ("a1 a2 a6 a9", "5 numbers are missing (3–5, 7–8)"),
        ("-2 -1 1", "the number is missing (0)"),
        ("2 4 8", "the number is missing (6)"),
        ("1 2 1000000000000000000", "999999999999999997 numbers are missing (3–999999999999999999)"),
        ("1 3 5 8 12 13 20", "(2, 4, 6–7 and 2 more)"),
    ],
)
def test_missing_numbers_are_said(tmp_path: Path, names: str, words: str) -> None:
    assert words in " ".join(listed(tmp_path, *(f"{name}.png" for name in names.split())).remarks)


@pytest.mark.parametrize("names", ["7", "1 9", "0 2 4 6", "0 33 67 100", "5_1 5_2 5_3", "1_1 1_2 2_1 2_2", "a b d"])
def test_numbers_without_a_gap_are_not_talked_of(tmp_path: Path, names: str) -> None:
    assert listed(tmp_path, *(f"{name}.png" for name in names.split())).remarks == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [("1.png", "01.png"), ("0001.png", "0001.jpg"), ("a_1.png", "A_1.png"), ("-1.png", "-01.jpg"), ("1.png", "١.png")],
)
def test_two_files_of_one_frame_are_refused(tmp_path: Path, one: str, other: str) -> None:
    with pytest.raises(UserError, match="the same frame by their names; keep one") as error:
        listed(tmp_path, one, other, "7.png")
    assert one in str(error.value)
    assert other in str(error.value)


@pytest.mark.parametrize(
    "names", ["0001_color 0001_depth 0002_color 0002_depth", "a1 a2 b1 b2", "frame frame1 frame2", "1 2 cover"]
)
def test_names_of_several_kinds_are_said(tmp_path: Path, names: str) -> None:
    (remark,) = listed(tmp_path, *(f"{name}.png" for name in names.split())).remarks
    assert "names of 2 kinds (" in remark


def test_what_systems_leave_is_passed_over_and_the_rest_is_named(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "@eaDir").mkdir()
    hidden = ["._1.png", ".DS_Store", "Thumbs.db", "desktop.ini", "Icon\r", ".2.png"]
    found = listed(tmp_path, "1.PNG", "2.JpG", "notes.txt", "1.json", "3.png~", "4", *hidden)
    assert [file.name for file in found.files] == ["1.PNG", "2.JpG"]
    assert found.remarks == ("left out, because they are no frames that are read: 3.png~, 4, masks/",)


def test_names_alone_are_put_in_order_and_give_their_numbers() -> None:
    assert natural_order(["b10", "b9", "a"]) == [2, 1, 0]
    assert number_names(["v1_003", "v1_001"]) == [3, 1]
    assert number_names(["a1", "b2"]) is None
