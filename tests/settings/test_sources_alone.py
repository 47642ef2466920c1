"""Settings of each source alone, where they are changed after they were checked."""

from __future__ import annotations

from typing import Any

import pytest

from masactrl_video.errors import UserError
from masactrl_video.settings.presets import read_preset, resolve
from masactrl_video.settings.timeline import sources_alone


@pytest.mark.parametrize(
    "changes",
    [
        {"sources": {"0": "generated", "3": "clip"}},
        {"key_frames": 2},
        {"cast": {"0": "hero"}, "guidance": ["pose"]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_does_not_go_together_is_one_line(changes: dict[str, Any]) -> None:
    settings = resolve({**read_preset("demo"), "clip": "clip.mp4"}, changes)
    assert sources_alone(settings)
    broken = settings.model_copy(update={"attention_mode": "masked", "mask_words": []})
    with pytest.raises(UserError, match="attention_mode masked: give mask_words") as error:
        sources_alone(broken)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes", [{"mask_threshold": 0.2}, {"mask_grid_divisor": 2}], ids=lambda changes: next(iter(changes))
)
def test_a_cast_whose_characters_have_words_takes_what_is_said_of_their_masks(changes: dict[str, Any]) -> None:
    base = {**read_preset("demo"), "clip": "clip.mp4"}
    cast = {"cast": {"0": "hero"}, "guidance": ["pose"]}
    settings = resolve(base, cast | changes)
    (name, value) = next(iter(changes.items()))
    assert getattr(sources_alone(settings)[0], name) == value
    with pytest.raises(UserError, match="no mask is found by words"):
        resolve(base, changes)
