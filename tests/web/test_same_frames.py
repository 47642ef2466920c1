"""A job of the page and its line make the same frames, bit for bit; a run that was stopped goes on by either."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from masactrl_video.cli.main import main
from masactrl_video.web.places import Places
from masactrl_video.web.preview import example_clip
from masactrl_video.web.queue import Queue
from masactrl_video.web.words import line_of

QUICK = {"num_inference_steps": 2, "frame_load_cap": 3, "batch_size": 1, "chunk_frames": 1}


def wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def frames_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "frames").glob("[0-9]*.png"))}


def test_a_job_and_its_line_make_the_same_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("MASACTRL_VIDEO_CACHE", str(tmp_path / "cache"))
    places = Places.at(tmp_path / "runs")
    queue = Queue(places)
    request.addfinalizer(queue.close)
    job = queue.add("render", "demo", QUICK, files={"clip": example_clip(places.uploads)})
    folder = places.folder_of(job.name)
    queue.start()
    wait_for(lambda: bool(frames_of(folder / "out")))
    queue.stop(job.name)
    wait_for(lambda: queue.job(job.name).state == "stopped")
    begun = frames_of(folder / "out")
    assert 0 < len(begun) < 3
    line = shlex.split(line_of(job, folder))[1:]
    place = line.index("-o") + 1
    assert main([*line[:place], str(tmp_path / "other.mp4"), *line[place + 1 :], "--quiet"]) == 0
    assert main([*line, "--quiet"]) == 0  # the command line goes on with what the page began
    made = frames_of(folder / "out")
    assert made == frames_of(tmp_path / "other")
    assert len(made) == 3
    assert begun.items() <= made.items()
    queue.go_on(job.name)  # and the page with what the command line has finished
    wait_for(lambda: queue.job(job.name).state in ("done", "failed"))
    assert queue.job(job.name).state == "done", queue.job(job.name).message
    assert queue.progress().part is None
