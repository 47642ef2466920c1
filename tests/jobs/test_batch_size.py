"""A batch size that is found: from two measurements, and kept by a run that goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from masactrl_video.jobs import render_frames as render_module
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.render import fit_batch
from masactrl_video.render.frames import FramesJob
from masactrl_video.settings.presets import read_config

GB = 10**9


@pytest.mark.parametrize(
    ("one", "two", "free", "most", "expected"),
    [
        (2 * GB, 3 * GB, 10 * GB, 32, 7),  # 8 GB may be used: one for 2, six more for 1 each
        (2 * GB, 3 * GB, 10 * GB, 4, 4),
        (2 * GB, 3 * GB, 1 * GB, 32, 1),
        (2 * GB, 2 * GB, 10 * GB, 32, 32),
    ],
)
def test_what_fits(one: int, two: int, free: int, most: int, expected: int) -> None:
    assert fit_batch.fitting(one, two, free, most) == expected


def batch_size_of(outputs: Outputs) -> int:
    return int(json.loads(outputs.report.read_text())["render"]["batch_size"])


@pytest.mark.long
def test_on_a_cpu_it_is_the_usual_one(render: Callable[..., Outputs], tmp_path: Path) -> None:
    outputs = render(tmp_path / "out.mp4", batch_size="auto", frame_load_cap=None)
    assert batch_size_of(outputs) == 4
    render(tmp_path / "again.mp4", **{"batch_size": read_config(outputs.config)["batch_size"]})  # as it is written


@pytest.mark.long
def test_a_run_that_goes_on_keeps_the_size_that_was_found(
    render: Callable[..., Outputs],
    frames_of: Callable[[Outputs], list[np.ndarray]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = iter([3, 1])

    def measured(job: FramesJob, most: int) -> int:
        fit_batch.try_batch(job, 2)  # as on a GPU; it must leave no trace
        return next(found)

    monkeypatch.setattr(render_module, "largest_batch", measured)
    auto = {"batch_size": "auto", "frame_load_cap": None, "reuse_deep_features": 2}
    outputs = render(tmp_path / "out.mp4", **auto)
    whole = frames_of(outputs)
    for path in (outputs.video, outputs.frames(4)[1]):
        path.unlink()
    render(outputs.video, **auto)
    assert batch_size_of(outputs) == 3
    plain = render(tmp_path / "plain.mp4", **auto | {"batch_size": 3})
    for frames in (frames_of(outputs), frames_of(plain)):
        assert np.array_equal(frames, whole)
