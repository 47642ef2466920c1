"""What is shown of jobs: nothing that was typed becomes a part of the page, and progress is told in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from masactrl_video.errors import UserError
from masactrl_video.progress import (
    RenderAdvanced,
    RenderProgress,
    RenderTask,
    StageBegan,
    StageEnded,
    Task,
    TaskAdvanced,
    TaskBegan,
    TaskEnded,
)
from masactrl_video.video.png import write_png
from masactrl_video.web.following import Follower
from masactrl_video.web.places import Places
from masactrl_video.web.queue import Queue
from masactrl_video.web.show import job_html, queue_html, title_of

EVIL = "<img src=x onerror=alert(1)>\"'"


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    places = Places.at(tmp_path / "runs")
    write_png(places.uploads / "clip.png", np.full((16, 16, 3), 200, np.uint8))
    return Queue(places)


def test_nothing_that_was_typed_becomes_part_of_the_page(queue: Queue) -> None:
    job = queue.add("render", "demo", {"prompt": EVIL}, files={"clip": queue.places.uploads / "clip.png"})
    failed = job.becomes("failed", EVIL)
    for html in (job_html(queue, job), job_html(queue, failed), queue_html(queue)):
        assert "<img src=x" not in html
        assert "&lt;img" in html
    assert "It begins when 0 jobs before it are done" in job_html(queue, job)


def test_what_is_made_so_far_is_shown(queue: Queue) -> None:
    job = queue.add("render", "demo", {}, files={"clip": queue.places.uploads / "clip.png"})
    folder = queue.folder(job) / "out"
    (folder / "frames").mkdir(parents=True)
    picture = np.zeros((8, 8, 3), np.uint8)
    for name in ("source.png", "source-000004.png", "frames/000000.png"):
        write_png(folder / name, picture)
    (folder / "frames" / ".000001.77.partial.png").write_bytes(b"half")
    html = job_html(queue, job)
    assert html.index('alt="source"') < html.index('alt="source from frame 4"')
    assert "1 frame</summary>" in html
    assert "partial" not in html
    assert title_of(job) == "Clip: a bear in a red shirt and blue pants dancing in the meadow"


def test_progress_is_that_of_the_frames_while_they_are_made() -> None:
    follow = Follower()
    guidance, render = Task("guidance", "frame", 4), RenderTask("render", "step", 40, frames=4)
    for event in (StageBegan("guidance"), TaskBegan(guidance), TaskAdvanced(guidance, 2), StageEnded("guidance", 1.5)):
        follow(event)
    assert (follow.now().doing, follow.now().part, follow.now().stages) == ("guidance", 0.5, (("guidance", 1.5),))
    follow(TaskBegan(render))
    follow(RenderAdvanced(render, 10, 1, RenderProgress(1, 4, 4, 10, 65.0)))
    follow(TaskAdvanced(guidance, 3))  # beside it
    now = follow.now()
    assert (now.frames_done, now.frames, now.step, now.steps, now.seconds_left) == (1, 4, 5, 10, 65.0)
    assert now.part == 0.25
    follow(TaskEnded(render))
    follow.tell({"stage": "pictures", "picture": 3, "pictures": 4})
    assert follow.now().part == 0.75


def test_a_timeline_says_only_what_it_may() -> None:
    pytest.importorskip("gradio")
    import gradio as gr

    from masactrl_video.web.timeline_box import TimelineBox

    with gr.Blocks(analytics_enabled=False):
        box = TimelineBox()
    assert box.said('{"sources": [[0, "generated"]]}', None) == {}
    assert box.said('{"sources": [[8, "side.png"], [0, "clip"]]}', ["/u/side.png"]) == {
        "0": "clip",
        "8": Path("/u/side.png"),
    }
    with pytest.raises(UserError, match="choose one of those"):
        box.said('{"sources": [[0, "/etc/passwd"]]}', None)
    for broken in ("", "{", "[]", '{"sources": [[0]]}', '{"sources": [["x", "clip"]]}', '{"sources": 3}'):
        assert box.said(broken, None) == {}
    assert '"frames": 0' in box.shown(None, "", None)


@pytest.mark.parametrize(
    "value",
    ["", "{", "{}", '{"width": 9, "height": 9, "keys": []}', '{"width": 0, "height": 1, "keys": [{"frame": 0}]}'],
)
def test_key_poses_that_cannot_be_read_are_refused(value: str) -> None:
    pytest.importorskip("gradio")
    from masactrl_video.web.poses_tab import _keys

    with pytest.raises(UserError, match="cannot be read"):
        _keys(value)


def test_key_poses_come_back_as_they_were() -> None:
    pytest.importorskip("gradio")
    from masactrl_video.poses.named_poses import named_pose
    from masactrl_video.web.poses_tab import _keys, _value

    pose = named_pose("waving")
    (again,), at = _keys(_value([pose], [0]))
    assert at == [0]
    assert np.allclose(again.people[0].body[:, :2], pose.people[0].body[:, :2], atol=0.06)
