"""Colours held to those of the source: off it changes nothing, on it moves frames to them, whatever the batches are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masactrl_video.errors import UserError
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.video.png import read_png

Render = Callable[..., Outputs]
ALL: dict[str, Any] = {"frame_load_cap": None, "batch_size": 2}
HELD = ALL | {"hold_colours": 1}


def frames(outputs: Outputs) -> list[np.ndarray]:
    return [read_png(path) for path in outputs.frames(4)]


def entry(outputs: Outputs) -> Path:
    return Path(json.loads(outputs.report.read_text())["cache_entry"])


@pytest.fixture(scope="module")
def free(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    return render(tmp_path_factory.mktemp("free") / "out.mp4", **ALL)


@pytest.fixture(scope="module")
def held(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    return render(tmp_path_factory.mktemp("held") / "out.mp4", **HELD)


def test_the_frame_that_the_source_is_keeps_its_colours_and_others_come_nearer(free: Outputs, held: Outputs) -> None:
    source = read_png(held.source).mean(axis=(0, 1))
    away = [[float(np.abs(f.mean(axis=(0, 1)) - source).mean()) for f in frames(made)] for made in (free, held)]
    assert sum(away[1]) < sum(away[0])


def test_what_is_kept_of_a_source_is_small_and_all_else_of_it_the_same(free: Outputs, held: Outputs) -> None:
    plain, with_colours = entry(free), entry(held)
    assert plain != with_colours
    more = (with_colours / "source.safetensors").stat().st_size - (plain / "source.safetensors").stat().st_size
    assert 0 < more < 4096
    for step in plain.glob("step-*"):
        assert (with_colours / step.name).read_bytes() == step.read_bytes()
    np.testing.assert_array_equal(read_png(held.source), read_png(free.source))


def test_a_run_that_was_killed_goes_on_with_the_same_bits(held: Outputs, render: Render) -> None:
    before = frames(held)
    held.video.unlink()
    held.frames(4)[3].unlink()
    render(held.video, **HELD, chunk_frames=4)
    np.testing.assert_array_equal(frames(held), before)


@pytest.mark.long
def test_object_and_ground_are_held_apart_where_there_are_masks(render: Render, tmp_path: Path) -> None:
    masked = {"attention_mode": "masked", "mask_words": ["bear"]}
    apart = render(tmp_path / "apart.mp4", **HELD, **masked, sources={"0": "generated", "2": "clip"})
    free = render(tmp_path / "free.mp4", **ALL, **masked, sources={"0": "generated", "2": "clip"})
    assert all((one != other).any() for one, other in zip(frames(apart), frames(free), strict=True))


@pytest.mark.long
def test_a_given_mask_says_where_the_sources_object_is(render: Render, tmp_path: Path) -> None:
    from PIL import Image

    mask = np.zeros((128, 128), np.uint8)
    mask[30:90, 30:90] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    masked = {"attention_mode": "masked", "mask_words": ["bear"], "source_mask": tmp_path / "mask.png"}
    outputs = render(tmp_path / "out.mp4", **HELD | {"frame_load_cap": 1}, **masked)
    assert outputs.video.is_file()


def test_steps_without_strength_are_refused(render: Render, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="colours_from: it would have no effect, because colours are not held"):
        render(tmp_path / "out.mp4", **ALL, colours_from=0.5)


@pytest.mark.long
def test_a_source_generated_later_is_aligned_to_the_first_as_its_frame_is(held: Outputs, render: Render) -> None:
    """It is that frame, as it comes out against the first source: with the same colours."""
    later = render(held.video.parent / "later.mp4", **HELD, sources={"0": "generated", "3": "generated"})
    source = read_png(later.source_at(3)).astype(int)
    assert np.abs(source - frames(held)[3]).max() <= 1
