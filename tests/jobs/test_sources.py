"""The source: generated, the clip's own frame, or a given picture."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masactrl_video.controls.clip import fit_clip, open_selected
from masactrl_video.errors import UserError
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.model.sampling.latents import decode_latents, encode_picture
from masactrl_video.settings.settings import Settings
from masactrl_video.video.png import read_png, write_png

Render = Callable[..., Outputs]


def report(outputs: Outputs) -> dict[str, object]:
    return dict(json.loads(outputs.report.read_text()))


def test_the_clips_own_frame_is_reconstructed(
    render: Render, demo: Callable[..., Settings], models: Callable[..., Any], tmp_path: Path
) -> None:
    settings = demo(source="clip", source_frame=1)
    model = models(settings)
    frame = fit_clip(settings, open_selected(settings), model).frame(1)
    expected = decode_latents(model, encode_picture(model, frame))[0]
    outputs = render(tmp_path / "out.mp4", source="clip", source_frame=1)
    difference = np.subtract(read_png(outputs.source), expected, dtype=np.int16)
    assert np.abs(difference).max() <= 1
    assert expected.std() > 1


@pytest.mark.long
def test_a_given_picture_of_that_frame_is_the_same_source(
    render: Render, demo: Callable[..., Settings], models: Callable[..., Any], tmp_path: Path
) -> None:
    settings = demo(source="clip")
    frame = fit_clip(settings, open_selected(settings), models(settings)).frame(1)
    write_png(tmp_path / "frame.png", frame)
    given = render(tmp_path / "given.mp4", source_image=tmp_path / "frame.png")
    own = render(tmp_path / "own.mp4", source="clip", source_frame=1)
    assert report(given)["cache_entry"] == report(own)["cache_entry"]
    assert given.source.read_bytes() != own.source.read_bytes()  # by their parameters
    assert np.array_equal(read_png(given.source), read_png(own.source))


@pytest.mark.long
def test_the_generated_source_stands_under_the_guidance_of_its_frame(render: Render, tmp_path: Path) -> None:
    first = render(tmp_path / "first.mp4", source_frame=0)
    second = render(tmp_path / "second.mp4", source_frame=1)
    assert (read_png(first.source) != read_png(second.source)).any()


@pytest.mark.long
def test_the_source_may_have_a_prompt_of_its_own(render: Render, tmp_path: Path) -> None:
    same = render(tmp_path / "same.mp4")
    other = render(tmp_path / "other.mp4", source_prompt="a cat in a blue shirt")
    assert (read_png(same.source) != read_png(other.source)).any()


@pytest.mark.long
def test_a_prompt_that_equals_the_negative_one_halves_the_record_of_a_real_source(
    render: Render, tmp_path: Path
) -> None:
    null = render(tmp_path / "null.mp4", source="clip")
    named = render(tmp_path / "named.mp4", source="clip", source_prompt="a bear")
    sizes = [int(str(report(outputs)["cache_bytes"])) for outputs in (null, named)]
    assert 1.7 < sizes[1] / sizes[0] < 2.1


def test_a_source_that_is_no_picture_leaves_nothing(render: Render, tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("no picture")
    with pytest.raises(UserError, match="is not an image"):
        render(tmp_path / "out.mp4", source_image=text)
    assert list(tmp_path.iterdir()) == [text]
