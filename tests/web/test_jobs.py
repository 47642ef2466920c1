"""Jobs: their files, their line, and that they are done one after another, by this server or the next one."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from PIL import Image

from masactrl_video.cli.options import settings_from
from masactrl_video.errors import UserError
from masactrl_video.progress import check_cancelled
from masactrl_video.settings.fields import STILLS
from masactrl_video.web.job import Job, read_job
from masactrl_video.web.places import Places, safe_name
from masactrl_video.web.queue import Queue
from masactrl_video.web.words import line_of


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places.at(tmp_path / "runs")


@pytest.fixture
def picture(places: Places) -> Path:
    path = places.uploads / "a picture.png"
    Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save(path)
    return path


def wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


LINES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "nothing said": ("render", "demo", {"clip": "/a/b c.mp4"}, {}),
    "texts": ("render", "demo", {"clip": "/a.mp4", "prompt": 'it\'s a "bear"', "negative_prompt": "-blurry"}, {}),
    "an empty prompt of the source": ("render", "demo", {"clip": "/a.mp4", "source_prompt": ""}, {}),
    "numbers": ("render", "demo", {"clip": "/a.mp4", "num_inference_steps": 4, "guidance_scale": 2.5, "seed": 3}, {}),
    "switches": ("render", "demo", {"clip": "/a.mp4", "side_by_side": False, "allow_partial": True}, {}),
    "lists": ("render", "demo", {"clip": "/a.mp4", "guidance": ["pose", "canny"], "masa_layers": ["8", "9"]}, {}),
    "pairs": ("render", "demo", {"clip": "/a.mp4", "lora": {"a=b.safetensors": "0.5"}}, {}),
    "a timeline": ("render", "demo", {"clip": "/a.mp4", "sources": {"0": "clip", "4": "generate"}}, {}),
    "another preset": ("render", "sd15-controlnet", {"clip": "/a.mp4", "prompt": "a cat"}, {}),
    "a picture as source": ("render", "demo", {"clip": "/a.mp4", "source_image": "/s.png"}, {}),
    "poses": ("animate", "demo", {"clip": "/a.json", "guidance": ["pose"]}, {}),
    "the source alone": ("source record", "demo", {"clip": "/a.mp4", "prompt": "a bear"}, {}),
    "a character": (
        "source make",
        "demo",
        {"clip": "bo", "prompt": "a bear"},
        {"name": "bo", "pose": "standing", "words": ["bear"]},
    ),
    "stills": (
        "synthesize",
        "demo",
        {
            "source_prompt": "a bear",
            "prompts": ["a", "b"],
            "seeds": [1, 2],
            "source_guidance": {"pose": "standing"},
            "target_guidance": {"pose": ["waving", "sitting"]},
        },
        {},
    ),
    "a grid": ("sweep", "demo", {"source_prompt": "a", "prompts": ["b"], "rows": "masa_step=0,2"}, {}),
}


@pytest.mark.parametrize("name", LINES)
def test_a_jobs_line_says_the_same_settings(name: str, tmp_path: Path) -> None:
    command, preset, changes, more = LINES[name]
    job = Job("20260101-000000-x", command, preset, changes, more)  # type: ignore[arg-type]
    _, module, *words = shlex.split(line_of(job, tmp_path))
    parser = argparse.ArgumentParser(allow_abbrev=False)
    import_module(f"masactrl_video.cli.{module}").add_arguments(parser)
    arguments = parser.parse_args(words)
    if command in STILLS:
        settings = import_module("masactrl_video.cli.still_flags").still_settings_from(arguments)
    else:
        arguments.clip = arguments.name if command == "source make" else arguments.clip
        settings = settings_from(arguments)
    assert settings == job.settings()
    assert getattr(arguments, "output", job.output(tmp_path)) == job.output(tmp_path)
    assert all(getattr(arguments, name) == value for name, value in more.items())


def test_an_edited_picture_stands_without_a_flag(places: Places, picture: Path) -> None:
    job = Job("20260101-000000-edit", "edit", changes={"source_image": str(picture), "prompts": ["a bear"]})
    parser = argparse.ArgumentParser(allow_abbrev=False)
    module = import_module("masactrl_video.cli.edit")
    module.add_arguments(parser)
    arguments = parser.parse_args(shlex.split(line_of(job, places.root))[2:])
    assert import_module("masactrl_video.cli.still_flags").still_settings_from(arguments) == job.settings()


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("a b\n;c.mp4", "a_b_c.mp4"),
        ("", "file"),
        ("...", "file"),
        ("job.json", "given-job.json"),
        ("out.mp4", "given-out.mp4"),
        ("é" * 300 + ".mp4", "é" * 76 + ".mp4"),
    ],
)
def test_names_of_files_are_made_harmless(sent: str, kept: str) -> None:
    assert safe_name(sent) == kept


def test_only_files_that_were_sent_are_taken(places: Places, picture: Path, tmp_path: Path) -> None:
    secret, link = tmp_path / "secret.png", places.uploads / "link.png"
    secret.write_bytes(picture.read_bytes())
    link.symlink_to(secret)
    (places.uploads / "way").symlink_to(tmp_path)
    folder = places.new("render")
    for path in (secret, link, places.uploads / "way" / "secret.png", places.uploads / ".." / ".." / "secret.png"):
        with pytest.raises(UserError, match="no file that was sent"):
            places.keep(path, folder)
    assert list(folder.iterdir()) == []
    first, second = places.keep(picture, folder), places.keep(picture, folder)
    assert (first.name, second.name) == ("a_picture.png", "a_picture-2.png")
    assert first.read_bytes() == picture.read_bytes()


@pytest.mark.parametrize(
    "name", ["..", "../x", "20260101-000000-render/..", "/etc", "", "uploads", "20260101-000000-no"]
)
def test_a_job_is_never_another_place(places: Places, name: str) -> None:
    with pytest.raises(UserError, match="none of that name"):
        places.folder_of(name)


def test_a_job_that_cannot_be_leaves_nothing(places: Places, picture: Path) -> None:
    queue = Queue(places)
    bad: list[tuple[dict[str, Any], str]] = [
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"no_such": 1}, "no such setting"),
        ({"model": "./none"}, "model"),
        ({"prompt": ""}, "prompt: missing"),
    ]
    for changes, said in bad:
        with pytest.raises(UserError, match=said):
            queue.add("render", "demo", changes, files={"clip": picture})
    with pytest.raises(UserError, match="no file that was sent"):
        queue.add("render", "demo", {}, files={"clip": Path("/etc/passwd")})
    assert places.job_names() == []
    assert [path.name for path in places.root.iterdir() if path.name[0] != "."] == ["uploads"]
    queue.close()


def test_others_take_no_files_of_the_server(places: Places, picture: Path, tmp_path: Path) -> None:
    secret, story = tmp_path / "secret.png", places.uploads / "story.yaml"
    secret.write_bytes(picture.read_bytes())
    queue = Queue(places, for_others=True)
    for changes in ({"model": str(tmp_path)}, {"guidance_video": {"canny": "/etc"}}, {"lora": {"~": "1"}}):
        with pytest.raises(UserError, match="files of the server are not taken"):
            queue.add("render", "demo", changes, files={"clip": picture})
    for image in (str(secret), "../../secret.png"):
        story.write_text(f"characters: {{bo: {{image: {image}}}}}\npanels: [{{prompt: a bear}}]\n")
        with pytest.raises(UserError, match="files of the server are not taken"):
            queue.add("comic", "demo", {}, {"story": ""}, {"story": story})
    queue.add("render", "demo", {"prompt": "a bear"}, files={"clip": picture})
    queue.close()
    assert len(places.job_names()) == 1


class Slow:
    """In the place of a job's work: waits until it may end, or is stopped."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.free = Event()

    def __call__(self, job: Job, folder: Path, tell: Callable[[dict[str, Any]], None]) -> None:
        self.began.append(job.name)
        tell({"stage": "pictures", "picture": 1, "pictures": 4})
        while not self.free.wait(0.01):
            check_cancelled()
        if job.changes.get("seed") == 13:
            raise UserError("this one cannot be")
        if job.changes.get("seed") == 14:
            raise RuntimeError("a fault of ours")


@pytest.fixture
def work() -> Iterator[Slow]:
    slow = Slow()
    yield slow
    slow.free.set()


def added(queue: Queue, picture: Path, seed: int = 0) -> str:
    return queue.add("render", "demo", {"seed": seed}, files={"clip": picture}).name


def states(queue: Queue) -> list[str]:
    return [job.state for job in queue.jobs()]


def test_one_job_is_done_at_a_time_and_the_others_wait(places: Places, picture: Path, work: Slow) -> None:
    queue = Queue(places, work)
    names = [added(queue, picture, seed) for seed in (0, 13, 14)]
    queue.start()
    wait_for(lambda: work.began == names[:1])
    wait_for(lambda: queue.progress().part == 0.25)
    assert states(queue) == ["running", "waiting", "waiting"]
    assert [job.name for job in queue.waiting()] == names
    assert read_job(places.folder_of(names[0])).state == "running"
    work.free.set()
    wait_for(lambda: states(queue) == ["done", "failed", "failed"])
    assert [job.message for job in queue.jobs()][1] == "this one cannot be"
    assert "a fault of ours" in queue.jobs()[2].message
    queue.close()


def test_a_job_is_stopped_and_goes_on(places: Places, picture: Path, work: Slow) -> None:
    queue = Queue(places, work)
    first, second = added(queue, picture), added(queue, picture)
    queue.start()
    wait_for(lambda: states(queue)[0] == "running")
    queue.stop(second)
    queue.stop(first)
    wait_for(lambda: states(queue) == ["stopped", "stopped"])
    queue.go_on(second)
    wait_for(lambda: queue.job(second).state == "running")
    queue.go_on(second)  # once more does nothing
    work.free.set()
    wait_for(lambda: queue.job(second).state == "done")
    assert queue.job(first).state == "stopped"
    assert work.began == [first, second]
    queue.close()


def test_the_next_server_goes_on(places: Places, picture: Path, work: Slow) -> None:
    queue = Queue(places, work)
    names = [added(queue, picture) for _ in range(3)]
    queue.stop(names[2])
    queue.start()
    wait_for(lambda: states(queue)[0] == "running")
    with pytest.raises(UserError, match="another server works in"):
        Queue(places)
    queue.close()
    assert read_job(places.folder_of(names[0])).state == "running"  # as after a kill
    again = Slow()
    again.free.set()
    another = Queue(places, again)
    assert states(another) == ["waiting", "waiting", "stopped"]
    another.start()
    wait_for(lambda: states(another) == ["done", "done", "stopped"])
    assert again.began == names[:2]
    another.close()


def test_a_job_that_nobody_can_read_is_left_alone(places: Places, picture: Path) -> None:
    queue = Queue(places)
    kept, broken, foreign = (added(queue, picture) for _ in range(3))
    queue.close()
    (places.root / broken / "job.json").write_text("{")
    (places.root / foreign / "job.json").write_text('{"command": "rm", "name": "x"}')
    another = Queue(places)
    assert [job.name for job in another.jobs()] == [kept]
    another.close()
    assert (places.root / broken / "job.json").read_text() == "{"
