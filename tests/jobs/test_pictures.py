"""Single pictures as the stages take them: what is not taken over is said, masks are numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from video.test_picture_colours import COLOURS, adobe_rgb

from masactrl_video.controls.clip import read_fitted
from masactrl_video.settings.settings import Settings


def test_transparency_and_profiles_of_a_picture_are_said(
    demo: Callable[..., Settings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    picture = Image.fromarray(COLOURS.astype(np.uint8))
    picture.putalpha(9)
    picture.save(tmp_path / "a.png", icc_profile=adobe_rgb())
    shown = read_fitted(demo(), tmp_path / "a.png", (1, 6))
    assert "a.png: it has transparency, which is dropped" in caplog.text
    assert "a.png: colours are converted from the profile 'test' to sRGB" in caplog.text
    assert (shown != COLOURS).any()
    assert (read_fitted(demo(), tmp_path / "a.png", (1, 6), as_numbers=True) == COLOURS).all()
