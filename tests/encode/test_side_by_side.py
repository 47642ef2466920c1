import numpy as np

from masactrl_video.encode.side_by_side import side_by_side


def test_pictures_stand_in_one_row_of_even_size_under_their_labels() -> None:
    red = np.full((40, 61, 3), (255, 0, 0), np.uint8)
    blue = np.full((20, 30, 3), (0, 0, 255), np.uint8)
    row = side_by_side([("clip", red), ("result", blue)])
    assert row.shape[0] % 2 == row.shape[1] % 2 == 0
    is_red, is_blue = (row == (255, 0, 0)).all(-1), (row == (0, 0, 255)).all(-1)
    assert is_red.sum() == 40 * 61
    assert is_blue.sum() == 40 * 60, "scaled to the height of the highest"
    assert is_red.any(0).nonzero()[0].max() < is_blue.any(0).nonzero()[0].min()
    top = is_red.any(1).nonzero()[0].min()
    assert row[:top, : row.shape[1] // 2].max() > 200, "the label is drawn above"
    assert row[:top, row.shape[1] // 2 :].max() > 200
