"""A labelled sheet: every picture whole and in its place, labels above, names of rows to the left."""

import numpy as np
import pytest

from masactrl_video.page.lettering import Lettering
from masactrl_video.page.sheet import Panel, labelled_sheet, wrapped

PICTURES = [np.full((40, 60, 3), colour, np.uint8) for colour in [(255, 0, 0), (0, 255, 0), (0, 0, 255)]]
WHITE = 255
SMALL = Lettering((None,), 12)


def place(sheet: np.ndarray, picture: np.ndarray) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of the pixels of a picture's colour."""
    found = (sheet == picture[0, 0]).all(-1)
    assert found.sum() == picture.shape[0] * picture.shape[1], "pixel for pixel"
    rows, columns = found.any(1).nonzero()[0], found.any(0).nonzero()[0]
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def ink(part: np.ndarray) -> bool:
    return bool((part.max(axis=-1) < 100).any())


def test_pictures_stand_in_rows_and_columns_under_their_labels() -> None:
    red, green, blue = PICTURES
    sheet = labelled_sheet([[Panel("one", red), Panel("", green)], [Panel(), Panel("three", blue)]])
    at = [place(sheet, picture) for picture in PICTURES]
    assert at[0][:2] == at[1][:2]
    assert at[1][2:] == at[2][2:]
    assert at[0][3] < at[1][2]
    assert at[1][1] < at[2][0]
    assert ink(sheet[: at[0][0], at[0][2] : at[0][3]])
    assert not ink(sheet[: at[1][0], at[1][2] : at[1][3]]), "no label was given"
    assert ink(sheet[at[1][1] : at[2][0], at[2][2] : at[2][3]])
    assert (sheet[at[2][0] : at[2][1], at[0][2] : at[0][3]] == WHITE).all(), "an empty place stays white"


def test_rows_have_names_to_their_left_and_the_sheet_a_title() -> None:
    red, green, _ = PICTURES
    plain = labelled_sheet([[Panel("", red)], [Panel("", green)]])
    sheet = labelled_sheet([[Panel("", red)], [Panel("", green)]], ["first", ""], "title")
    before, first, second = place(plain, red), place(sheet, red), place(sheet, green)
    assert first[0] > before[0]
    assert first[2] > before[2]
    assert ink(sheet[: first[0] - 1])
    assert ink(sheet[first[0] : first[1], : first[2]])
    assert not ink(sheet[second[0] : second[1], : second[2]])


def test_pictures_of_other_sizes_keep_theirs() -> None:
    small = np.full((10, 20, 3), (9, 200, 9), np.uint8)
    sheet = labelled_sheet([[Panel("wide", PICTURES[0]), Panel("small", small)]])
    assert place(sheet, small)[0] == place(sheet, PICTURES[0])[0]


@pytest.mark.parametrize("text", ["a bear in a red shirt and blue pants waving in the meadow", "x" * 90, ""])
def test_lines_are_no_wider_than_told_and_hold_the_whole_text(text: str) -> None:
    lines = wrapped(text, SMALL, 128)
    assert all(SMALL.extent_px(line)[0] <= 128 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_a_text_that_is_too_long_ends_in_dots() -> None:
    lines = wrapped("bear " * 100, SMALL, 128)
    assert (len(lines), lines[-1][-1]) == (6, "…")


def test_a_sheet_without_pictures_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        labelled_sheet([[Panel("nothing")]])


def test_letters_that_the_sheet_cannot_show_are_said(caplog: pytest.LogCaptureFixture) -> None:
    labelled_sheet([[Panel("a 猫", PICTURES[0])]], title="猫")
    assert [record.getMessage() for record in caplog.records] == [
        "the sheet's labels: the font built-in has no '猫' (U+732B), and shows boxes"
    ]
