"""A window on latents: what is cut out of whole pictures, and put back."""

from __future__ import annotations

import pytest
import torch

from masactrl_video.model.backbones.window import Window, window_around


def inside(rows: slice, columns: slice, height: int = 32, width: int = 48) -> torch.Tensor:
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[rows, columns] = True
    return mask


def test_a_window_holds_what_is_inside_and_its_margin_at_multiples_of_4() -> None:
    assert window_around(inside(slice(9, 14), slice(21, 22)), 2) == Window(4, 16, 12, 8, (32, 48))
    assert window_around(inside(slice(0, 30), slice(40, 48)), 3) == Window(0, 36, 32, 12, (32, 48))


def test_there_is_none_where_nothing_is_known_or_hardly_anything_is_left_out() -> None:
    assert window_around(inside(slice(0), slice(0)), 2) is None
    assert window_around(inside(slice(0, 32), slice(0, 43)), 1) is None  # 44 of 48 columns
    assert window_around(inside(slice(1, 3), slice(1, 3), 6, 6), 1) == Window(0, 0, 4, 4, (6, 6))


@pytest.mark.parametrize("scale", [8, 1, 0.5, 0.25])
def test_what_is_cut_comes_back_to_its_place_on_any_grid(scale: float) -> None:
    window = Window(4, 16, 12, 20, (32, 48))
    whole = torch.arange(int(32 * scale) * int(48 * scale)).reshape(1, int(32 * scale), int(48 * scale))
    part = window.cut(whole)
    assert part.shape == (1, int(12 * scale), int(20 * scale))
    assert part[0, 0, 0] == whole[0, int(4 * scale), int(16 * scale)]
    if scale <= 1:
        back = window.placed(part, whole.new_full((), -1))
        assert torch.equal(window.cut(back), part)
        assert (back == -1).sum() == whole.numel() - part.numel()
        assert torch.equal(window.placed(part, whole), whole)


def test_a_grid_that_does_not_divide_the_window_is_covered_all_the_same() -> None:
    window = Window(0, 4, 16, 12, (16, 16))
    coarse = window.placed(torch.ones(1, 2, 2), torch.zeros(()))  # 12 points halve to 6, 3 and 2
    assert coarse.shape == (1, 2, 3)
    assert window.cut(torch.rand(1, 2, 2)).shape == (1, 2, 2)
