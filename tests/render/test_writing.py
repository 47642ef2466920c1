"""Pictures written beside the model's work."""

from pathlib import Path

import numpy as np
import pytest

from masactrl_video.render.writing import writing_beside
from masactrl_video.video.png import read_png, read_png_text


def picture(level: int) -> np.ndarray:
    return np.full((8, 8, 3), level, np.uint8)


def test_all_are_there_when_the_context_ends(tmp_path: Path) -> None:
    with writing_beside() as write:
        for number in range(40):
            write(tmp_path / f"{number}.png", picture(number), {"number": str(number)})
    assert [read_png(tmp_path / f"{number}.png")[0, 0, 0] for number in range(40)] == list(range(40))
    assert read_png_text(tmp_path / "7.png")["number"] == "7"


def test_those_that_were_handed_over_are_written_after_ctrl_c(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), writing_beside() as write:
        for number in range(3):
            write(tmp_path / f"{number}.png", picture(number), {})
        raise KeyboardInterrupt
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("more", [0, 20])
def test_what_cannot_be_written_is_raised(tmp_path: Path, more: int) -> None:
    written = []
    with pytest.raises(FileNotFoundError), writing_beside() as write:
        write(tmp_path / "absent" / "0.png", picture(0), {})
        for number in range(more):
            write(tmp_path / f"{number}.png", picture(number), {})
            written.append(number)
    assert len(written) <= 8  # it does not go on for long
