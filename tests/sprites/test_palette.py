"""Palettes: as many colours as were asked for, all in use, the same for all cells."""

from pathlib import Path

import numpy as np
import pytest
from sprites.conftest import Drawn
from sprites.test_cells import cells_of

from masactrl_video.errors import UserError
from masactrl_video.sprites.palette import choose_palette, colours_in, hex_text, palette_of, read_palette, with_palette


@pytest.mark.parametrize("count", [2, 7, 32, 100])
def test_a_palette_has_exactly_so_many_colours(drawn: list[Drawn], count: int) -> None:
    cells, _ = cells_of(drawn, hard=True)
    made = [with_palette(cell, choose_palette(cells, count), dither=False) for cell in cells]
    assert colours_in(made) == count
    for before, after in zip(cells, made, strict=True):
        np.testing.assert_array_equal(before[..., 3], after[..., 3])


def test_each_pixel_takes_the_colour_that_is_nearest(drawn: list[Drawn]) -> None:
    cells, _ = cells_of(drawn, hard=True)
    made = [with_palette(cell, choose_palette(cells, 64), dither=False) for cell in cells]
    there = cells[0][..., 3] > 0
    assert np.abs(made[0][there].astype(int) - cells[0][there]).mean() < 4


def test_dithering_keeps_to_the_palette(drawn: list[Drawn]) -> None:
    cells, _ = cells_of(drawn, hard=True)
    palette = choose_palette(cells, 8)
    plain, mixed = (with_palette(cells[0], palette, dither=dither) for dither in (False, True))
    assert (plain != mixed).any()
    assert {*map(tuple, palette_of([mixed]).tolist())} <= {*map(tuple, palette.tolist())}


def test_fewer_colours_than_asked_for_are_all_taken() -> None:
    cell = np.zeros((4, 4, 4), np.uint8)
    cell[0, :3] = [(255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255)]
    assert len(choose_palette([cell], 16)) == 3


def test_a_palette_comes_back_from_its_file(tmp_path: Path) -> None:
    palette = np.array([[0, 0, 0], [255, 128, 7], [10, 20, 30]], np.uint8)
    (tmp_path / "a.hex").write_text(hex_text(palette))
    np.testing.assert_array_equal(read_palette(tmp_path / "a.hex"), palette)
    gimp = "GIMP Palette\nName: a\nColumns: 3\n#\n  0   0   0\tblack\n255 128 7\n 10  20  30 deep\n"
    (tmp_path / "a.gpl").write_text(gimp)
    np.testing.assert_array_equal(read_palette(tmp_path / "a.gpl"), palette)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("none.hex", None, "there is no file"),
        ("a.hex", "ff00\n", "line 1: got 'ff00'; write a colour as RRGGBB"),
        ("a.gpl", "palette\n", "does not begin with `GIMP Palette`"),
        ("a.gpl", "GIMP Palette\n1 2 300\n", "got 300; a colour goes from 0 to 255"),
        ("a.hex", "ff0000\n", "holds 1 colours; 2 to 256 are allowed"),
        ("a.act", "", "give a number of colours, or a .hex, .gpl or .png file"),
    ],
)
def test_what_is_no_palette_is_refused(tmp_path: Path, name: str, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=words):
        read_palette(tmp_path / name)
