"""With few steps, S may lie behind the last one: that is refused, and the way out is named."""

from __future__ import annotations

import pytest

from masactrl_video.errors import UserError
from masactrl_video.settings.acting import check_source_acts
from masactrl_video.settings.presets import resolve

BASE = {"clip": "clip.mp4", "model": "demo", "guidance": []}


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        ({"num_inference_steps": 4}, "0 to 3"),  # S is 4 by default
        ({"num_inference_steps": 1, "masa_step": 1}, "0"),
        ({"num_inference_steps": 2, "masa_step": 9}, "0 to 1"),
    ],
)
def test_an_s_behind_the_last_step_is_refused(settings: dict[str, int], allowed: str) -> None:
    with pytest.raises(UserError, match=rf"give a masa_step of {allowed} \(--masa-step 0 controls all steps\)"):
        check_source_acts(resolve({**BASE, **settings}, {}))


@pytest.mark.parametrize(
    "settings",
    [
        {"num_inference_steps": 4, "masa_step": 3},
        {"num_inference_steps": 1, "masa_step": 0},
        {"num_inference_steps": 4, "masa_steps": [0]},
        {"num_inference_steps": 4, "masa_steps": []},  # said outright: a picture without the source, to compare
    ],
)
def test_a_step_that_acts_or_none_by_wish_is_taken(settings: dict[str, object]) -> None:
    check_source_acts(resolve({**BASE, **settings}, {}))


def test_one_step_takes_s_along() -> None:
    settings = resolve({**BASE, "num_inference_steps": 50, "masa_step": 4}, {"num_inference_steps": "1"})
    check_source_acts(settings)
    assert settings.masa_step == 0
