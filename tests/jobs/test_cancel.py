"""A run that another thread cancels leaves what a killed one leaves, and goes on; two runs at once do not meet."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest

from masactrl_video import Cancelled, CancelToken
from masactrl_video.jobs.render_clip import render_clip
from masactrl_video.jobs.run.folder import RENDERING, Outputs, read_state

Made = Callable[..., Any]
STEPS = {"frame_load_cap": None, "batch_size": 1, "chunk_frames": 2}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}


@pytest.mark.parametrize(
    "where",
    [
        {"frame": 3},
        *(pytest.param({"stage": stage}, marks=pytest.mark.long) for stage in ("guidance", "source", "encode")),
    ],
)
def test_a_cancelled_run_goes_on_and_ends_with_the_same_bits(
    where: dict[str, Any], demo: Made, models: Made, render: Callable[..., Outputs], tmp_path: Path
) -> None:
    whole = render(tmp_path / "whole.mp4", **STEPS)
    settings, outputs, token = demo(**STEPS), Outputs(tmp_path / "out.mp4"), CancelToken()
    told: list[dict[str, Any]] = []

    def tell(event: dict[str, Any]) -> None:
        told.append(event)
        if where.items() <= event.items():
            thread = Thread(target=token.cancel)  # from another thread, as a page's button does it
            thread.start()
            thread.join()

    with pytest.raises(Cancelled):
        render_clip(settings, outputs.video, model=models(settings), tell=tell, cancel=token)
    kept = files(outputs.folder / "frames")
    assert len(kept) == (2 if "frame" in where else 4 if where["stage"] == "encode" else 0)
    assert not outputs.video.exists()
    assert read_state(outputs.folder) == RENDERING
    assert outputs.log.read_text().splitlines()[-1] == "--- stopped: cancelled"
    assert [path.name for path in tmp_path.rglob(".*")] == [".unfinished"]
    times = {path.name: path.stat().st_mtime_ns for path in (outputs.folder / "frames").iterdir()}
    render_clip(settings, outputs.video, model=models(settings))
    assert files(outputs.folder / "frames") == files(whole.folder / "frames")
    assert {name: (outputs.folder / "frames" / name).stat().st_mtime_ns for name in times} == times
    assert outputs.video.exists() and not (outputs.folder / ".unfinished").exists()


def test_a_run_that_is_cancelled_before_it_begins_leaves_nothing(demo: Made, models: Made, tmp_path: Path) -> None:
    token, settings = CancelToken(), demo()
    token.cancel()
    with pytest.raises(Cancelled):
        render_clip(settings, tmp_path / "out.mp4", model=models(settings), cancel=token)
    assert list(tmp_path.iterdir()) == []


def test_two_renders_in_two_threads_write_each_its_own_log(
    demo: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="masactrl_video")
    both, failed = Barrier(2, timeout=120), []

    asked = {name: demo(prompt=f"a ({name}:1.3) dancing") for name in ("bear", "frog")}  # the log warns of the marks

    def run(name: str) -> None:
        def tell(event: dict[str, Any]) -> None:
            if event.keys() == {"stage"} and event["stage"] in ("guidance", "render"):
                both.wait()

        try:
            render_clip(asked[name], tmp_path / f"{name}.mp4", tell=tell)
        except BaseException as error:
            failed.append(error)
            both.abort()

    threads = [Thread(target=run, args=(name,)) for name in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    for name, other in (("bear", "frog"), ("frog", "bear")):
        log = (tmp_path / name / "log.txt").read_text()
        assert f"WARNING prompt: ({name}:1.3)" in log
        assert other not in log
        assert log.count("guidance took") == log.count("render: frames done: 2 of 2") == 1
